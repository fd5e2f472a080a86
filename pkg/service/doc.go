// Package service is what every main.go of this repository starts from: a Micro service whose edge is strict.
//
//	func main() {
//		srv := service.New("customers")
//		srv.Must(wire(srv))
//		srv.Must(srv.Run())
//	}
//
// # What it guarantees
//
// A call reaches a handler only when all of this holds, in this order: it names a method of a proto service that was
// registered (else 404); its caller may call that method, by the policy in the proto (else 401 or 403, see pkg/auth); its
// body is a valid message of the method (else 400 with the path of the field that is wrong and what was expected there);
// and the message is about the caller, if that is a customer (else 403). Where a customer leaves out whom it is about,
// their own id is filled in. Each message of a stream is treated so.
//
// A message is valid or not in every encoding; JSON with an unknown field or one given twice is refused, while an unknown
// field in binary protobuf is dropped, because that is how a newer caller looks to an older service during a rolling
// upgrade. An empty body is an empty message; one of more than 32 MiB gets 413. The reply goes out in the encoding of the
// call.
//
// A caller is answered with Micro errors only. Their id is the endpoint, as "customers.Customers.Create": the name the
// service is registered under, the proto service and the method. The code is that of the error's kind (pkg/errors), the
// detail is written for the caller. Whatever is not made for the caller, a panic included, is answered as 500 with
// nothing but a reference; the line of the call in the log has the cause under that reference. Neither an answer nor the log repeats what the
// caller sent: field names come from the proto, and an unknown field is named only if it looks like a name.
//
// A service that starts is whole: configuration is parsed strictly and validated before anything is served, and a
// handler that does not fit its proto service, or a method that does not declare who may call it, stops the start. A
// failed start prints one sentence, which is the last line the process writes, and ends with exit code 1.
//
// A service that is told to stop (SIGTERM or SIGINT) runs the functions given to OnStopping, leaves the registry, answers
// the calls it is working on, and then runs the functions given to OnStop in reverse order, as deferred functions would.
// At last it ends what consumes events: Micro's events.Publish and events.Consume are the client of pkg/events/stream.
//
// With MICRO_TLS the processes of a platform prove to each other who they are before anything else: package mtls says how, and
// what that keeps out. Who makes a call, and whether they may, is the business of tokens and policies either way.
//
// # What operators see
//
// Every process has /metrics, /healthz, /readyz and profiles on an address that the registry knows, and every call has a
// trace id and at most one line in the log: package telemetry says which, and its README has the list of metrics. A
// service adds what it needs to be ready with Check, and metrics of its own to Recorder().Registry().
//
// # Who may be wrong, and for how long
//
// A caller that looked the service up just before it left may still call it. Such a call is answered as long as others
// are being worked on and gets 503, which is safe to repeat, after that. A handler that does not return within
// DrainTimeout is abandoned: its caller sees a broken connection, and it finds its database closed.
//
// A service that is killed stays in the registry for at most RegisterTTL. A registry that is restarted, empty, knows the
// service again after at most RegisterInterval.
//
// Configuration is read once, at the start: a change takes effect when the service is restarted.
package service
