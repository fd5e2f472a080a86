// Package telemetry records the calls that a process answers and makes: as metrics, as spans of a trace, and as lines of
// a log. Package monitor, below it, is where operators read the metrics.
//
// # Metrics
//
// README.md has the list. Labels have few values: endpoints are those of registered handlers, whatever else is called
// counts as "unknown"; a code that is none counts as "unknown"; a process counts the calls to 1000 endpoints of others
// apart, and further ones together.
//
// # Traces
//
// A trace travels in the header traceparent (W3C Trace Context). Every call has one: the caller's when it is valid, else
// a new one. Spans are made and exported by OTLP over HTTP only when OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; the other variables of OpenTelemetry's specification work as it says. A
// process that makes no spans passes its caller's header on as it is, so that a process behind it can still make spans
// for the right parent; a trace that it begins says that it is not sampled, and by the SDK's default nobody behind it
// samples it either. So tracing is switched on for a platform as a whole.
//
// # Logs
//
// A call has one line at most. One that failed for a reason of ours (5xx) is an error, with its cause and the reference
// that the caller was told. One that was refused (4xx) or took longer than a second is info, a hundred of them a second
// at most; a line says how many had no place before it. All others are debug. MICRO_LOG_LEVEL is the level,
// MICRO_LOG_FORMAT is "text" or "json". A line has service, endpoint, code, duration in seconds, trace, and of the caller
// what it is: anonymous, customer, admin, or service with its name. It does not have who a person is, not even as a hash,
// nor anything of a request; the audit of a domain knows that. What looks like a token, a secret or an email address is
// taken out of every line, wherever it comes from.
//
// Lines go out at once, with the exception of those written by MicroLogger.Often, which are for what every request from
// outside leaves: they wait for up to 50 ms to go out together, unless another line takes them along. Whoever kills a
// process loses those. No request waits for whoever reads the log: what there is no room for meanwhile, beyond a MiB, is
// lost, and a line of its own says how many lines that were.
//
// # Who may be wrong, and for how long
//
// Counters begin at 0 with each process. A call is counted when it has ended; one that never ends is seen in flight.
// Spans are exported every few seconds, so that a process that is killed loses its last ones; one that is stopped waits
// for a collector for three seconds. A collector that is away costs memory for 2048 spans and no more, and no call waits
// for it. A name without an @ cannot be told from another word: keeping those out of errors is up to who makes them.
package telemetry
