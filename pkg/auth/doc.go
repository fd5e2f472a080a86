// Package auth tells who is calling.
//
// Local puts itself in front of Micro's client of the auth service, so that a call costs no other call: a token is checked
// with the platform's public key once and remembered until it expires, and the access rules are remembered too.
//
// # Who may be wrong, and for how long
//
// A token that was good once is good until its own expiry, whatever has become of its account meanwhile; that is why
// access tokens are short-lived. It is never good for longer.
//
// A changed rule takes effect after RulesAge. While the auth service is away, the rules that were last known stay in
// effect, for as long as it takes: a platform whose auth service is down goes on as it was. Only a process that starts
// meanwhile knows no rules, and refuses calls until it does.
package auth
