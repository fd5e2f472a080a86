package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

var errManyGroups = kinds.TooMany("group: the topic has %d already, which is as many as there may be", stream.MaxGroups)

// subscription is a member of a group. What is not said otherwise is guarded by the group's mutex.
type subscription struct {
	group   *group
	options stream.Options
	items   map[uint64]*item // handed out, by tag
	last    uint64           // the last tag
	idle    bool             // whether it waits for events
	asked   time.Time        // when it last did
	err     error            // why it has ended

	more    chan struct{} // has one element when there may be something
	ended   chan struct{} // closed when it has ended
	closing sync.Once
	unwatch func() bool
}

// Subscribe implements stream.Stream.
func (s *Stream) Subscribe(ctx context.Context, options stream.Options) (stream.Subscription, error) {
	options, err := options.Complete()
	if err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.register(within, options.Topic); err != nil {
		return nil, err
	}
	sub, err := s.join(within, options)
	if err != nil {
		if _, ok := errors.AsType[*kinds.Error](err); ok {
			return nil, err
		}
		return nil, s.failure(within, "join a group", err)
	}
	sub.unwatch = context.AfterFunc(ctx, sub.end)
	return sub, nil
}

// join makes a member of a group that has others here, or of one that begins here with it.
func (s *Stream) join(ctx context.Context, options stream.Options) (*subscription, error) {
	sub := &subscription{
		options: options, items: make(map[uint64]*item),
		more: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	k := keysOf(options.Topic)
	if options.Group != "" {
		if g := s.find(k, options.Group); g != nil && g.admit(sub) {
			return sub, nil
		}
	}
	g := &group{
		stream: s, topic: options.Topic, keys: k, name: options.Group, loner: options.Group == "", member: newMember(),
		news: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		members: map[*subscription]struct{}{sub: {}}, ackWait: options.AckWait, retries: options.RetryLimit,
		fresh: true, free: true,
	}
	if g.loner {
		g.name = uuid.NewString()
	}
	g.settings = settingsOf(g.ackWait, g.retries, g.loner)
	sub.group = g
	if err := g.join(ctx, options.Offset); err != nil {
		return nil, err
	}
	s.enter(g)
	s.mu.Lock()
	closed := s.ctx.Err() != nil
	if !closed {
		s.running.Go(g.run)
	}
	s.mu.Unlock()
	if closed {
		g.fail(stream.ErrClosed)
		g.run()
		return nil, stream.ErrClosed
	}
	return sub, nil
}

// admit makes somebody a member, unless the group has ended.
func (g *group) admit(s *subscription) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	s.group = g
	g.members[s] = struct{}{}
	g.ackWait, g.retries = s.options.AckWait, s.options.RetryLimit
	if settings := settingsOf(g.ackWait, g.retries, false); settings != g.settings {
		g.settings, g.set = settings, true
	}
	g.work()
	return true
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
	for {
		batch, err := s.take(true)
		if err != nil {
			return nil, err
		}
		if deliveries := s.decode(batch); len(deliveries) > 0 {
			return deliveries, nil
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-s.more:
		case <-s.ended:
		case <-ctx.Done():
			_, _ = s.take(false)
			return nil, ctx.Err()
		}
	}
}

// take takes what there is, or says that it does not wait any more.
func (s *subscription) take(wait bool) ([]*item, error) {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	var batch []*item
	s.asked = time.Now()
	if s.idle = wait; wait {
		batch = g.handOut(s)
		s.idle = len(batch) == 0
	} else {
		for other := range g.members { // they have been left a smaller share
			if other.idle && len(g.waiting) > 0 {
				other.signal()
			}
		}
	}
	g.work()
	return batch, nil
}

// decode makes deliveries of what was taken. What cannot be read is left out.
func (s *subscription) decode(batch []*item) []stream.Delivery {
	deliveries := make([]stream.Delivery, 0, len(batch))
	for _, it := range batch {
		event, err := decode(s.group.topic, it.data)
		if err != nil {
			logger.Errorf("The group %s leaves out event %s of the topic %s, which cannot be read: %v", s.group.name, it.id, s.group.topic, err)
			_ = s.Ack(it.tag) // if it has ended meanwhile, whoever gets it next does the same
			continue
		}
		deliveries = append(deliveries, stream.Delivery{Event: event, Tag: it.tag, Attempt: it.attempt})
		it.data = ""
	}
	return deliveries
}

// Ack implements stream.Subscription.
func (s *subscription) Ack(tags ...uint64) error {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tag := range tags {
		if it := g.settle(s, tag); it != nil {
			g.acks = append(g.acks, it.id)
		}
	}
	g.settled(s)
	return s.err
}

// Nack implements stream.Subscription.
func (s *subscription) Nack(delay time.Duration, tags ...uint64) error {
	if err := stream.ValidDelay(delay); err != nil {
		return err
	}
	if delay > 0 { // Redis counts in ms
		delay = max(delay, time.Millisecond)
	}
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tag := range tags {
		if it := g.settle(s, tag); it != nil {
			g.backs = append(g.backs, putBack{it.id, it.attempt, delay})
		}
	}
	g.settled(s)
	return s.err
}

// settled goes on after a member may have got room.
func (g *group) settled(s *subscription) {
	if s.idle && len(g.waiting) > 0 {
		s.signal()
	}
	g.work()
}

// Extend implements stream.Subscription.
func (s *subscription) Extend(tags ...uint64) error {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, tag := range tags {
		if it := s.items[tag]; it != nil {
			g.begin(it, now)
		}
	}
	return s.err
}

// Close implements stream.Subscription.
func (s *subscription) Close() error {
	s.unwatch()
	s.end()
	return nil
}

func (s *subscription) end() {
	s.closing.Do(func() { s.group.dismiss(s) })
}

// dismiss takes a member out of the group and gives back what it has. It returns when others can have it, if it was the last
// one.
func (g *group) dismiss(s *subscription) {
	g.mu.Lock()
	s.fail(stream.ErrClosed)
	delete(g.members, s)
	last := len(g.members) == 0
	if last {
		g.end()
	} else if !g.ended {
		for _, it := range s.items {
			g.drop(it)
			g.backs = append(g.backs, putBack{it.id, it.attempt, 0})
		}
		g.work()
	}
	g.mu.Unlock()
	if last {
		<-g.done
	}
}
