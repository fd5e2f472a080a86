// Package edge is the HTTP side of the platform, the core service "api": it turns `POST /customers/Create` with a JSON body
// into the RPC Customers.Create of the service customers, and the answer into JSON.
//
// # Guarantees
//
// A request that cannot be a call never reaches a service: an unknown service is 404, a body that is not one JSON object
// 400, one that is too large 413. Only endpoints that are for everybody or for customers are reachable: any other, also of
// a core service, is answered as if it did not exist (404), whatever token is sent; operators and services call those
// through the proxy. What an endpoint says of itself in the registry is what counts here; who calls is checked by the
// service. Every error is a Micro error in JSON, whose code is the HTTP status; what went wrong inside is in the log, not
// in the answer. (What is not HTTP, or has a header that is too large, is refused in plain text
// before it gets here.)
//
// # Who may be wrong
//
// What the registry answered is used while it is asked again, once a second for a service that is called, and nodes that
// it does not list any more are called for ten seconds, as long as nothing else is known: a service that has just started
// may be unknown for a second, one that has just died may still be called, and the call then fails with 503. While the
// registry is away or hangs, known services are called as before; a call of another gets 503 after two seconds.
package edge
