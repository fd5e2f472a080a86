// Package edge is the HTTP side of the platform, the core service "api": it turns `POST /customers/Create` with a JSON body
// into the RPC Customers.Create of the service customers, and the answer into JSON.
//
// # Guarantees
//
// A request that cannot be a call never reaches a service: an unknown service is 404, a body that is not one JSON object
// 400, one that is too large 413. Every error is a Micro error in JSON, whose code is the HTTP status; what went wrong
// inside is in the log, not in the answer.
//
// # Who may be wrong
//
// Services are found in a cached view of the registry, which is kept when the registry is away: a service that has just
// started may be unknown for a moment, one that has just died may still be called, and the call then fails with 503.
package edge
