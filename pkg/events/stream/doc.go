// Package stream is an event stream in batches: Micro's events.Stream and events.Store, and beside them the same in
// batches, each event with an id of its own, the time to the nanosecond, and a delivery that can be acknowledged or put
// off by itself. The engines of pkg/platform implement Stream, and so does Client, the client of the events service, so
// that one suite of tests (streamtest) holds for all of them.
//
// A service does not make a client: Micro's events.Publish and events.Consume are one (pkg/service), and
// events.DefaultStream is a Stream.
//
// # What holds
//
// Publish and PublishBatch return when the events are in the stream, where they survive the death of any process. What a
// power cut may take is up to the engine: that of the embedded profile says it in its package. An error means that they may
// be there or not. They may be published again; each has its id from the first time on (Prepare), by which a consumer knows
// that it has had it.
//
// An event is delivered to each group at least once, to one member at a time. It may be delivered again after it was
// acknowledged: when an engine was killed, or when the acknowledgement was lost with its connection. So a consumer has to be
// able to tell, for as long as the stream keeps events.
//
// # Who may be wrong, and for how long
//
// A member that hangs has what it was given for AckWait. One that is killed, or whose machine vanishes, keeps its events from
// others until its connection is found to be broken: at once, or after some eleven seconds. After that, or when the events
// service has been away, a subscription breaks, and its owner subscribes again; Consume does so by itself for a group.
//
// Acknowledgements are not answered: that Ack returns nil says that they are on their way. Close waits until the service has
// got them.
//
// The token of a client is looked at for each call, but only once for a stream that it publishes over. Neither side uses such
// a stream for long, the client for 30 s and the service for a minute: by so much longer than its token lasts may somebody
// publish at most whose account is gone.
//
// # What it costs
//
// Those that publish to a topic at the same time in a process share a batch, so that 64 of them are some ten times as fast as
// one, who waits for nobody. pkg/bench/events measures it.
//
// Who publishes often with Publish does it over streams that are kept open, a batch after the other on each: a message and its
// answer take two thirds of the time of a call. There are four at most in a process, opened when one batch has followed another
// within a second; for what finds none free there are calls. A stream has no guarantees of its own. When the service refuses a
// batch, the error is that of a call; when the stream breaks, or the service ends it, the batch is published again with a call,
// which knows when and where to repeat it. Metrics and traces have such a stream as one call. PublishBatch makes calls: its
// batches are large, and it has a context.
package stream
