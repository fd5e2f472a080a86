package stream

import (
	"context"
	"time"

	"github.com/micro/micro/v3/service/events"
)

// Bounds of what a stream takes.
const (
	// MaxEvent is how many bytes an event may have, with its metadata.
	MaxEvent = 1 << 20
	// MaxBatch is how many events are published or delivered at once at most.
	MaxBatch = 1000
	// MaxBatchBytes is how many bytes these may have together; a single event may always be delivered.
	MaxBatchBytes = 8 << 20
	// MaxTopic is how many bytes the name of a topic or a group may have.
	MaxTopic = 128
	// MaxTopics is how many topics there may be.
	MaxTopics = 1000
	// MaxGroups is how many groups a topic may have.
	MaxGroups = 1000
	// MinAckWait is the shortest AckWait.
	MinAckWait = 10 * time.Millisecond
	// MaxAckWait is the longest AckWait.
	MaxAckWait = 24 * time.Hour
	// MaxInFlight is how many events may be delivered and not yet acknowledged.
	MaxInFlight = 10000
	// MaxDelay is how long a delivery may be put off.
	MaxDelay = 24 * time.Hour
)

// What Options are when they are not given.
const (
	DefaultAckWait     = 30 * time.Second
	DefaultMaxInFlight = 2000
)

// DefaultRead is how many events Read returns unless it is told how many.
const DefaultRead = 250

// IDKey is the key of an event's metadata that has its id, a UUID. An event that is published without gets one of version
// 7 there, and events.Event.ID is the same. So the id survives on the way over Micro's own RPCs, which have no place for
// it, and publishing an event again does not make another one of it.
const IDKey = "id"

// TimeKey is the key of an event's metadata that has its time, as time.RFC3339Nano in UTC, which Micro's own RPCs cut to
// seconds.
const TimeKey = "time"

// Stream is an event stream. It is safe for concurrent use.
type Stream interface {
	events.Stream
	events.Store

	// PublishBatch publishes events in their order, at most MaxBatch of any topics, and fills in ids and times that are
	// missing. When it returns nil, all of them are in the stream and survive the death of any process; when it returns an
	// error, of each topic's the first few may be, and they may be published again under the ids they have. An error is an
	// *errors.Error (pkg/errors) when the events are to blame, and errors.Permanent says so; any other error passes.
	//
	// The epoch that it returns names the life of the machine, or of the engine, that holds the events in memory before
	// they are on disk: as long as it is the same as before, nothing was lost that was acknowledged. When it has changed,
	// whatever was acknowledged in the last moments before the change (Durability) may be gone and is to be published again.
	PublishBatch(ctx context.Context, batch []*events.Event) (epoch string, err error)

	// Subscribe begins to receive a topic's events as a member of a group. Each event goes to one member of each group, in
	// the order of the stream unless it has to be delivered again. The subscription ends with ctx.
	Subscribe(ctx context.Context, options Options) (Subscription, error)
}

// Options say what a Subscription receives.
type Options struct {
	// Topic is what is subscribed to. Required. It need not exist.
	Topic string
	// Group is whom an event is delivered to once. The stream remembers how far a group has come, also when nobody of it is
	// there. When it is empty, the subscription is a group of its own, of which nothing is left when it ends.
	Group string
	// Offset is from when on a group that is new gets events: those that came into the stream at that time or later, by the
	// stream's clock. The zero time is: all that the stream still has. A time in the future is: from now on.
	Offset time.Time
	// AckWait is after how long an event that was not acknowledged is delivered again. When a member goes away, what it has
	// not acknowledged is delivered again at once. 30 s when 0. What the member that came last says goes for its group.
	AckWait time.Duration
	// MaxInFlight is how many events may be delivered and not yet acknowledged, at most 10,000; 2,000 when 0. It bounds
	// what the subscription takes of the memory of everybody involved: no more is sent meanwhile.
	MaxInFlight int
	// RetryLimit is how often an event is delivered again at most, before the stream gives it up for the group; 0 is
	// without a limit, and a negative number is never. What was on its way to a member that went away counts as delivered.
	// What the member that came last says goes for its group.
	RetryLimit int
}

// Delivery is an event on its way to a member of a group.
type Delivery struct {
	*events.Event
	// Tag names the delivery in its subscription.
	Tag uint64
	// Attempt is 1 when the event is delivered to the group for the first time. It may be too small after an engine was
	// killed.
	Attempt int
}

// Subscription receives events. One goroutine may call Next while others acknowledge.
type Subscription interface {
	// Next waits for events and returns those that there are, at least one and at most MaxBatch and MaxBatchBytes. It returns
	// ctx's error when ctx has ended, after which it may be called again, and any other error when the subscription has
	// broken: then whoever wants more subscribes again.
	Next(ctx context.Context) ([]Delivery, error)
	// Ack says that deliveries need not be repeated. That it returns nil does not mean that the stream has kept it yet: an
	// event may be delivered again after an acknowledgement.
	Ack(tags ...uint64) error
	// Nack has deliveries repeated after a delay, to the same group only. A delay may be shorter after an engine was killed.
	Nack(delay time.Duration, tags ...uint64) error
	// Extend begins the AckWait of deliveries anew, for work that takes longer.
	Extend(tags ...uint64) error
	// Close ends the subscription; what is not acknowledged is delivered to other members. Of tags that a subscription does
	// not know, or no more because their AckWait has passed, neither of these methods says anything.
	Close() error
}
