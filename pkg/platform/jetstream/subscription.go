package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"
	"github.com/nats-io/nats.go/jetstream"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// subscription is a member of a group. What is not said otherwise is guarded by the group's mutex.
type subscription struct {
	group   *group
	options stream.Options
	items   map[uint64]*item // handed out, by tag
	last    uint64           // the last tag
	idle    bool             // whether it waits for events
	err     error            // why it has ended

	more    chan struct{} // has one element when there may be something
	ended   chan struct{} // closed when it has ended
	closing sync.Once
	closed  error
	unwatch func() bool
}

// Subscribe implements stream.Stream.
func (e *Engine) Subscribe(ctx context.Context, options stream.Options) (stream.Subscription, error) {
	options, err := options.Complete()
	if err != nil {
		return nil, err
	}
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	t, err := e.topic(ctx, options.Topic)
	if err != nil {
		return nil, err
	}
	s, err := t.join(ctx, options)
	if err != nil {
		return nil, err
	}
	s.unwatch = context.AfterFunc(ctx, func() {
		if err := s.end(); err != nil {
			logger.Errorf("Event stream: end a subscription of the topic %s: %v", t.name, err)
		}
	})
	return s, nil
}

// join makes a member of a group, and the group if there is none.
func (t *topic) join(ctx context.Context, options stream.Options) (*subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t.joining.Lock()
	defer t.joining.Unlock()
	if t.engine.ctx.Err() != nil {
		return nil, stream.ErrClosed
	}
	loner := options.Group == ""
	if loner {
		options.Group = uuid.NewString()
	}
	g := t.group(options.Group)
	if g == nil {
		g = t.newGroup(options.Group)
		g.loner = loner
	}
	if err := t.consumer(ctx, g, options); err != nil {
		if _, ok := errors.AsType[*kinds.Error](err); ok {
			return nil, err
		}
		return nil, t.engine.failedRequest("join a group", err)
	}
	s := &subscription{
		group: g, options: options, items: make(map[uint64]*item),
		more: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inbox == nil {
		inbox, err := g.conn.Subscribe(g.conn.NewInbox(), g.receive)
		if err != nil {
			return nil, t.engine.failedRequest("join a group", err)
		}
		g.inbox = inbox
	}
	g.ackWait, g.retries = options.AckWait, options.RetryLimit
	g.members[s] = struct{}{}
	g.settled = false
	t.mu.Lock()
	t.groups[g.name] = g
	t.mu.Unlock()
	g.ask()
	return s, nil
}

// consumer makes the JetStream consumer of a group, or has it as the options say.
func (t *topic) consumer(ctx context.Context, g *group, options stream.Options) error {
	now := t.engine.config.now()
	existing, err := t.engine.js.Consumer(ctx, t.stream, g.consumer)
	switch {
	case err == nil:
		config := existing.CachedInfo().Config
		if !g.inhabited() {
			// Of a time when another process held the engine, or of a member that could not give back what it had.
			if !g.settled {
				if err := g.giveBack(ctx); err != nil {
					return err
				}
			}
		} else if config.AckWait == options.AckWait {
			return nil
		}
		config.AckWait = options.AckWait
		return t.update(ctx, config, now)
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	}
	if n, err := t.count(ctx); err != nil {
		return err
	} else if n >= stream.MaxGroups {
		return kinds.TooMany("group: the topic has %d already, which is as many as there may be", stream.MaxGroups)
	}
	config := jetstream.ConsumerConfig{
		Durable: g.consumer, Metadata: seenNow(g.name, g.loner, now),
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: options.AckWait, MaxAckPending: maxUnsettled, MaxDeliver: -1,
	}
	if !options.Offset.IsZero() {
		config.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		// Never later than now: nothing that comes from now on may be missed.
		start := options.Offset
		if present := time.Now(); start.After(present) {
			start = present
		}
		config.OptStartTime = &start
	}
	_, err = t.engine.js.CreateConsumer(ctx, t.stream, config)
	return err
}

// count returns how many groups the topic has.
func (t *topic) count(ctx context.Context) (int, error) {
	s, err := t.engine.js.Stream(ctx, t.stream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.Consumers, nil
}

// capacity is how many events the member can take.
func (s *subscription) capacity() int {
	if s.err != nil {
		return 0
	}
	return s.options.MaxInFlight - len(s.items)
}

func (s *subscription) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// fail ends the subscription; what it has stays its own until it is closed.
func (s *subscription) fail(err error) {
	if s.err == nil {
		s.err = err
		close(s.ended)
	}
}

// Next implements stream.Subscription.
func (s *subscription) Next(ctx context.Context) ([]stream.Delivery, error) {
	g := s.group
	for {
		g.mu.Lock()
		if s.err != nil {
			defer g.mu.Unlock()
			return nil, s.err
		}
		s.idle = true
		batch := g.handOut(s)
		s.idle = len(batch) == 0
		g.mu.Unlock()
		if len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-s.more:
		case <-s.ended:
		case <-ctx.Done():
			g.mu.Lock()
			s.idle = false
			g.wake() // others have been left a smaller share
			g.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// settle says something about deliveries and forgets them.
func (s *subscription) settle(what string, tags []uint64, also func(it *item)) error {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, tag := range tags {
		it := s.items[tag]
		if it == nil {
			continue
		}
		g.send(it.reply, what)
		g.drop(it)
		if also != nil {
			also(it)
		}
	}
	if s.idle {
		s.signal()
	}
	g.ask()
	return s.err
}

// Ack implements stream.Subscription.
func (s *subscription) Ack(tags ...uint64) error { return s.settle("+ACK", tags, nil) }

// Nack implements stream.Subscription.
func (s *subscription) Nack(delay time.Duration, tags ...uint64) error {
	if err := stream.ValidDelay(delay); err != nil {
		return err
	}
	if delay == 0 {
		return s.settle("-NAK", tags, nil)
	}
	until := time.Now().Add(delay)
	return s.settle(fmt.Sprintf(`-NAK {"delay": %d}`, delay), tags, func(it *item) { s.group.putOff[it.number] = until })
}

// Extend implements stream.Subscription.
func (s *subscription) Extend(tags ...uint64) error {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	now := time.Now()
	for _, tag := range tags {
		if it := s.items[tag]; it != nil {
			g.send(it.reply, "+WPI")
			g.begin(it, now)
		}
	}
	return s.err
}

// Close implements stream.Subscription.
func (s *subscription) Close() error {
	s.unwatch()
	return s.end()
}

func (s *subscription) end() error {
	s.closing.Do(func() { s.closed = s.group.leave(s) })
	return s.closed
}

// leave takes a member out of the group and gives back what it has.
func (g *group) leave(s *subscription) error {
	g.topic.joining.Lock()
	defer g.topic.joining.Unlock()
	g.mu.Lock()
	s.fail(stream.ErrClosed)
	delete(g.members, s)
	deserted := len(g.members) == 0
	if !deserted {
		had := make([]*item, 0, len(s.items))
		for _, it := range s.items {
			had = append(had, it)
		}
		slices.SortFunc(had, func(a, b *item) int { return cmp.Compare(a.number, b.number) })
		for _, it := range had {
			g.send(it.reply, "-NAK")
			g.drop(it)
		}
		g.wake()
		g.ask()
	}
	g.mu.Unlock()
	if !deserted || g.topic.engine.ctx.Err() != nil {
		return nil // an engine that starts again gives it back
	}
	ctx, cancel := context.WithTimeout(g.topic.engine.ctx, timeout)
	defer cancel()
	if err := g.shut(ctx); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && ctx.Err() == nil {
		return err
	}
	if !g.loner {
		return nil
	}
	g.topic.forget(g.name)
	err := g.topic.engine.js.DeleteConsumer(ctx, g.topic.stream, g.consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || ctx.Err() != nil {
		return nil
	}
	return err
}
