// Package edge is the HTTP side of the platform, the core service "api": it turns `POST /customers/Create` with a JSON body
// into the RPC Customers.Create of the service customers, and the answer into JSON.
//
// # Guarantees
//
// A request that cannot be a call never reaches a service: an unknown service is 404, a body that is not one JSON object
// 400, one that is too large 413. Only endpoints that are for everybody or for customers are reachable: any other, also of
// a core service, is answered as if it did not exist (404), whatever token is sent; operators and services call those
// through the proxy. What an endpoint says of itself in the registry is what counts here; who calls is checked by the
// service. GET is for endpoints whose proto says that they change nothing; any other answers it with 405.
//
// What begins with /v1/ is a call with an API key, of what is sold: the gateway (pkg/gateway) says whether it may be made, and
// counts it. An endpoint with the policy gateway is not reachable in any other way; one that is for everybody is, by its own
// path, without a key and uncounted, whatever the catalogue says of its price.
//
// A service learns three things of the HTTP request: the Authorization header; in X-Forwarded-For the IP address of the
// peer, which is a proxy's where there is one in front; and in X-Request-Id the id that is in the answer and in the log
// as well. The last two are always the edge's own. A cookie is nobody's token. With a key, it learns the customer's id and the
// key's instead of the Authorization header.
//
// An endpoint whose messages are Micro's api.Request and api.Response takes HTTP as it is, and answers so: it learns the method,
// the path, the query, the header but for cookies, tokens, keys and what is about the connection, and the body, byte for byte.
// A body that is not UTF-8 is 400, because a message cannot have it. Fields of the answer that tell a browser what it may do
// are the edge's own. What else is said here holds for these endpoints, too.
//
// A web page of another site may call if its origin is in the configuration, and else cannot change anything: 403. A host
// that is not the API's is 421, so that no site can pass the API off as its own.
//
// Every error is a Micro error in JSON, whose code is the HTTP status; what went wrong inside is in the log, not in the
// answer. The exceptions are net/http's: what is not HTTP, or has a header of more than 128 KiB, is refused in plain
// text, and whoever takes too long to send a header is cut off.
//
// The access log has one line for each request, without the query, any header and the body. Its lines are kept for up to
// 50 ms, to be written many at a time, and go out before any other line of the process that comes after them, and at the stop;
// whoever kills the process (-9) loses those of that time, and nothing else of the log. No request waits for whoever reads the
// log: what there is no room for meanwhile, beyond a MiB, is lost, and another line says how many lines that were.
//
// # Who may be wrong
//
// What the registry answered is used while it is asked again, once a second for a service that is called, and nodes that
// it does not list any more are called for ten seconds, as long as nothing else is known: a service that has just started
// may be unknown for a second, one that has just died may still be called, and the call then fails with 503. While the
// registry is away or hangs, known services are called as before; a call of another gets 503 after two seconds.
//
// The configuration is read once, at the start, from the service "config", which is waited for: half a minute without it,
// or a wrong value, ends the process with a sentence that says so. The supervisor starts it again, so that a value that
// is mended takes effect by itself.
//
// Connections are bounded, but not for each caller: somebody who holds all of them keeps others waiting, for a minute by
// connections that say nothing, for as long as they like by ones that do.
package edge
