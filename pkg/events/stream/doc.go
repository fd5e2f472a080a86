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
// # What it costs
//
// Those that publish to a topic at the same time in a process share an RPC, so that 64 of them are some ten times as fast as
// one, who waits for nobody. pkg/bench/events measures it.
package stream
