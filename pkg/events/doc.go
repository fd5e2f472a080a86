// Package events makes a change of state and its event one thing. A service adds its events to the outbox in the
// transaction of the change; they are published after it has committed; and each service that consumes them has its effect
// once, in a transaction in which it is recorded that it had.
//
//	bus, err := events.Open(srv, db)
//	...
//	err = db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
//		... change the state ...
//		return bus.Add(ctx, tx, events.Draft{
//			Topic: customersevents.Topic, Aggregate: customer.ID, Message: &customersevents.Event{...},
//		})
//	})
//
// and in another service, with f a func(ctx, tx, *events.Event, *customersevents.Event) error:
//
//	err = bus.Consume(events.Consumer{Topic: customersevents.Topic, Handle: events.Each(f)})
//
// A topic has a directory in pkg/events/proto, with its message Event and its name. On the wire an event is that message as
// JSON with enum values by name; its id (a UUID of version 7), its time to the nanosecond, the name of its type, its cause,
// its aggregate and its number among those of the aggregate are in the metadata.
//
// # What is guaranteed
//
// An event is published if its transaction has committed, and not otherwise. Each consumer has its effect exactly once, as
// far as the effect is in the transaction that its handler is given. What a handler does elsewhere, it may do again: after
// an error, and after a crash between that and the commit.
//
// Of one topic, the events about one aggregate are handled in the order in which their transactions committed, by every
// consumer, whatever the stream does: an event that comes before its predecessor is kept until that was handled. Events
// about different aggregates, or about none, are handled in any order.
//
// # What goes wrong, and what then
//
// A handler's error undoes the whole transaction. It is run again with half of the events, and so on, until it is known
// which event is to blame. If the error is permanent (errors.Permanent: what could not be decoded, what the handler
// refuses), that event is a dead letter at once. Else it is tried again, after Consumer.RetryAfter, twice that, and so on,
// up to ten minutes; after Consumer.Attempts it is a dead letter, too. Meanwhile what follows about the same aggregate
// waits; a dead letter is waited for no more. When one event after the other fails, they are taken for victims of the same
// fault, such as a service that is away: they stay in the stream, and the consumer tries again after some milliseconds, up
// to five seconds.
//
// Dead letters can be listed, replayed and discarded by the RPCs DeadLetters of each service. Nothing is dropped.
//
// # Who may be wrong, and for how long
//
// The relay that publishes may die after it has published and before it knows: its successor publishes again, and so do two
// relays that think for a moment that they hold the lease. Consumers pass over what their inbox has; the stream may
// have an event several times.
//
// A stream acknowledges what survives the death of any process, but perhaps not a power cut. So an event stays in the outbox
// for Config.Settle after it was acknowledged, and is published again when the stream's epoch has changed meanwhile, or
// when the relay has. What a power cut loses of the stream, the outbox still has.
//
// A relay whose process was killed is followed by another after lease.TTL, 3 s, at most. Until then events wait.
//
// A predecessor that never comes is waited for Consumer.GapWait, 5 min: there is none if the stream no longer had it when
// the consumer was new. (A new consumer of a topic whose beginning is gone waits once for each aggregate, for MaxPending of
// them at a time.) No gap is given up while nothing can be handled. If it comes after that, it is handled late rather than not at all, and counted in a metric. The
// consumer is wrong about the order then, and about nothing else.
//
// An event that is delivered again after InboxRetention would have its effect again. The stream keeps what everybody has
// acknowledged for half of that at most; the outbox what was published for seconds, and a service that was away for more than
// a day publishes nothing of that again. A consumer that is away for longer than the stream's retention is forgotten by the
// stream, and what it has missed with it: one that is full shows the stream that it is there.
//
// An event that the stream refuses for good stays in the outbox, and the log says so. There should be none: what is added is
// checked as the stream does.
//
// # Bounds
//
//	outbox              MaxWaiting unpublished events; then whatever adds one fails with 503
//	sequences, positions a row for each aggregate; they stay
//	inbox               InboxRetention, about 60 bytes an event and consumer
//	letters to try again MaxPending for each consumer; then it takes no more until there is room
//	dead letters        MaxDead for each consumer, the same; they are kept until somebody decides
//	a transaction       stream.MaxBatch events and stream.MaxBatchBytes
//
// All of it shows in the metrics events_*, and what has reached its bound in /readyz.
package events
