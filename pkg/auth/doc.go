// Package auth tells who is calling, and who may.
//
// # Who is calling
//
// A Caller is anonymous, a customer, an admin (an operator), a service, or other: somebody with an account that is none of
// these, who gets no more than somebody without one. It is taken from Micro's account, which is taken from the token, and
// only from what the platform has signed: the type, the scopes, the namespace, a customer's id, and a service's name, which
// the runtime puts into the metadata of the account it issues. Handlers get it with CallerFrom.
//
// # Who may
//
// Every RPC declares in its proto who may call it, with the option (access.policy):
//
//	option (access.policy).public = {};                                   // everybody
//	option (access.policy).customer = {id: "id", services: ["signup"]};   // the customer, admins, the services named
//	option (access.policy).admin = {services: ["signup"]};                // admins, the services named
//	option (access.policy).gateway = {};                                  // the gateway for a customer, and not even admins
//
// pkg/service reads it when a handler is registered. An RPC that declares nothing, or a field that there is not, stops the
// start. README.md has the policies of all services, made of their protos.
//
// The order of a call: a header that is no good token is 401, whatever the RPC; who needs to be known and is not is 401; who
// is known and may not is 403; only then the request is decoded (400). A customer's request is about themself before
// the handler sees it: the field that has the id is filled when it is empty, and 403 when it is another's. So is each
// message of a stream. A field that names a customer in another way, such as an address, cannot be compared: it is
// declared as one of admin_fields, and 403 when a customer gives it. Who may say that an RPC is about everybody is an admin,
// or a service that the RPC names; to be a service is not enough.
//
// # Tokens
//
// Access tokens are signed (package token) and live for five minutes. Local puts itself in front of Micro's client of the
// auth service, so that a call costs no other call: a token is checked with the platform's public keys once and remembered,
// until it expires, and the access rules are remembered too. It also keeps this process logged in, and gets
// a new token when half of the time of the last one is over.
//
// # Services
//
// Every part of the platform and every service has an identity of its own: the runtime gives it credentials that are
// derived from its name, and the auth service derives the same. To be a service gives nothing by itself: an RPC names the
// services that may call it. With the platform's own services each is kept to what is its own (core.go): its name in the
// registry, its tables in the store, its part of the configuration. Events are everybody's: any service of the platform
// may publish and consume any topic.
//
// A service that is sold, whose code is somebody else's, may register itself where it runs and look for others, and nothing
// more. Nobody's token gets to it: the registry marks its nodes, and whoever calls it leaves the token out (package
// direct). On one machine that is as far as it goes: a process of the same user can read the state directory, keys and
// all. Code that nobody has read belongs on a machine, or in a container, of its own.
//
// # The gateway
//
// Customers call what is sold with an API key, which is no token: the gateway, a part of the API (pkg/gateway), finds out whose
// it is. A policy that names "gateway" among its services means that part, "platform/api", and no service that somebody runs
// under the name. The services that are sold it calls with another account for each of them, gateway/<service>, whose
// secrets it derives from its own: what one of them is sent is good in that one only, and it can do no more with it than
// call itself. There the gateway says in a header for which customer it calls, and that customer is the caller that the
// handler sees. From anybody else the header means nothing, and does not get to the handler.
//
// # Who may be wrong, and for how long
//
// An access token that was good once is good until its own expiry, for five minutes at most, whatever has become of its
// account meanwhile. Refresh tokens, and with them the next access token, stop at once.
//
// A key that has been replaced verifies for six minutes more, which is as long as a token of it can live.
//
// While the auth service is away, tokens are good and the rules that were last known stay in effect for as long as it
// takes. Nobody logs in meanwhile, and services are logged in for between half of a token's life and all of it. A process
// that starts meanwhile waits until it can log in.
//
// A changed rule takes effect after RulesAge.
//
// The credentials of a service, sold or not, are good for as long as the root they are derived from: `micro kill` does not
// revoke them. They never leave the service's own environment.
//
// Where a call came into the platform from (X-Forwarded-For) is written by the two ways in, the HTTP API and the proxy.
// Whoever can connect to a service without them can say anything: the ports of the inside are for the inside.
//
// A policy is part of the binary: a changed one takes effect when the service is restarted, and the HTTP API may know the
// earlier one for a second more; the service itself never does.
package auth
