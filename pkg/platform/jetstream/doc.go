// Package jetstream is the event stream of the embedded profile: NATS JetStream in the process that opens it, below one
// directory, without a port. A topic is a stream of JetStream, a group is a consumer.
//
// # What holds
//
// An event whose publication was acknowledged has been written to its file. Whatever happens to the process, or to all
// processes, it is there when the engine is opened again. The events of a batch that are for one topic get there in their
// order and without others between them; when their publication fails, some of the first ones may be there, and never a later
// one without those before it. Published again, under the ids that they have, they are in the stream twice: whoever
// consumes goes by the id.
//
// A group gets each event until one of its members acknowledges it: in the order of the stream, but for those that are
// repeated. An event is repeated AckWait after it was delivered, after the delay of a Nack, and at once when its member has
// gone, before all that the group has not had yet; also when the engine was killed and is opened again.
//
// # What a power cut loses
//
// What was written is forced to the disk every Config.Sync, 100 ms unless it is said otherwise. When the machine stops
// without having done that, what was acknowledged within that time may be gone. Whoever still has it can tell: the epoch
// that each publication returns is another one after the machine has been started again. With Config.Always nothing is
// lost, and each batch waits for the disk.
//
// # Who may be wrong, and for how long
//
// How far a group has come is written up to ten times a second. After a kill -9, what was acknowledged within the last tenth
// of a second or so may be delivered again; after a power cut, within the last seconds. Delays of Nacks are forgotten by
// either, and attempts may count a few too few. What is delivered again because its member went away counts as an attempt,
// though it may never have reached it.
//
// Two members never have the same event at a time, unless one has had it for longer than AckWait.
//
// # What is kept, and for how long
//
// An event is removed when all groups have acknowledged it and it is older than Config.Retention; the engine looks once a
// minute. A topic takes Config.MaxBytes of the disk at most: from three quarters on, what all groups have acknowledged goes
// whatever its age. What a group has not acknowledged stays: a topic that is full of that takes no more, and says which group
// it is waiting for; from 80% on the log says so each minute. A group of which nobody has been there for Retention, and an
// eighth of it more, is removed, which the log says; events have not been removed for its sake before.
//
// With less than Config.Reserve free on the disk nothing is taken; consumers go on. An engine that cannot write for another
// reason gives up (Failed): what it has acknowledged is there when it is opened again.
//
// # Memory
//
// Of what is in a topic, nothing is kept in memory but the blocks of 8 MiB that are being written and read. A group holds at
// most 4 MiB and 1,000 events that it has not handed out yet, and some hundred bytes for each that it has. No more than
// 100,000 events of a group are on their way or put off; with more the group gets nothing new.
package jetstream
