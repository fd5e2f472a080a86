// Package token makes and checks what the parts of the platform show each other: access tokens, and the secrets with
// which the platform's own parts and its services log in.
//
// # Access tokens
//
// An access token is a JWT of the type at+jwt (RFC 9068), signed with RS256 by the auth service alone and checked by every
// process by itself. It lives for MaxAccess at most, whatever anybody asks for, and says who has logged in: the
// account's id, type, scopes, name and metadata, and the session it belongs to.
//
// The keys are two files of one directory: signing.json has the private key and is for the auth service; verify.json has
// the public ones and is for everybody. Both are readable by their owner alone and replaced as a whole, so that nobody
// sees half of one. Rotate makes another key; processes notice by themselves.
//
// # Derived secrets
//
// The platform's own parts, and the services that it runs, have no account in a store. Their secrets are derived from a
// root secret (root.key, in the same directory) and their id, so that they can be checked without anything having been
// written down, and a service that is started once more has the secret that it had. The runtime, which starts services,
// gets a secret below the root (Services): with it secrets of services can be made, and none of the platform's parts.
// Such an id has a slash, which no stored account's id has.
//
// # Who may be wrong, and for how long
//
// A token that is good stays good until it expires, whatever has become of its account: for MaxAccess at most.
//
// After Rotate a process may sign with the former key for fileAge more. The former key verifies for longer than what
// it has signed by then lives (retiredAge). A process that is shown a token of a key it does not know looks whether there
// are others: a new key is good everywhere in the moment in which it signs.
//
// Rotate may be killed at any point. Everybody knows a key before it signs, and no key is retired before the next one has
// taken over; what is left undone, the next Create or Rotate does. Two at once wait for each other.
//
// A process that cannot read verify.json goes on with the keys it knew, and with none accepts nobody. One that cannot read
// signing.json signs nothing rather than with a key that may be retired.
//
// A derived secret is good for as long as the root is. To take it back, remove root.key and start the platform again.
package token
