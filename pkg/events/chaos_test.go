package events_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/events"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// chaos is a stream that does to its users whatever a stream may do: it delivers events several times, in any order that
// two processes of a group could see, breaks off, forgets acknowledgements, and fails to publish what it has published. In
// the end everything is delivered.
type chaos struct {
	stream.Stream // Micro's own methods, which nobody here calls

	mu    sync.Mutex
	rng   *rand.Rand
	wild  float64 // how often something goes wrong: 0 is never
	epoch int
	log   []*events.Event
	// acked are the places in log of what a group has acknowledged.
	acked map[string]map[int]bool
	more  chan struct{} // closed when there is something new
	calls int
	// failing are topics that nothing can be published to, refuse says what the stream refuses for good.
	failing map[string]error
	refuse  func(e *events.Event) bool
}

// fail has publishing to a topic fail, or not any more.
func (c *chaos) fail(topic string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing[topic] = err
}

func newChaos(seed uint64, wild float64) *chaos {
	return &chaos{rng: rand.New(rand.NewPCG(seed, seed)), wild: wild, acked: make(map[string]map[int]bool), more: make(chan struct{}), failing: make(map[string]error)}
}

func (c *chaos) goesWrong() bool { return c.rng.Float64() < c.wild }

var errChaos = errors.New("the stream broke off")

func (c *chaos) PublishBatch(_ context.Context, batch []*events.Event) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	for _, e := range batch {
		if err := c.failing[e.Topic]; err != nil {
			return "", err
		}
		if c.refuse != nil && c.refuse(e) {
			return "", kinds.Invalid("events", "not that one")
		}
	}
	if c.goesWrong() {
		batch = batch[:c.rng.IntN(len(batch)+1)]
		c.add(batch)
		return "", errChaos
	}
	c.add(batch)
	if c.goesWrong() {
		c.epoch++
	}
	return strconv.Itoa(c.epoch), nil
}

func (c *chaos) add(batch []*events.Event) {
	c.log = append(c.log, batch...)
	close(c.more)
	c.more = make(chan struct{})
}

// lose begins anew without the last events, as an engine whose machine has lost its power.
func (c *chaos) lose(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.log = c.log[:len(c.log)-n]
}

func (c *chaos) published() []*events.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// left is how many events a group has not acknowledged.
func (c *chaos) left(group string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log) - len(c.acked[group])
}

func (c *chaos) Subscribe(_ context.Context, o stream.Options) (stream.Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goesWrong() {
		return nil, errChaos
	}
	if c.acked[o.Group] == nil {
		c.acked[o.Group] = make(map[int]bool)
	}
	return &chaosSubscription{chaos: c, topic: o.Topic, acked: c.acked[o.Group], out: make(map[int]bool)}, nil
}

type chaosSubscription struct {
	*chaos
	topic string
	acked map[int]bool
	out   map[int]bool // delivered by this subscription
}

func (s *chaosSubscription) Next(ctx context.Context) ([]stream.Delivery, error) {
	s.mu.Lock()
	broken := s.goesWrong()
	s.mu.Unlock()
	if broken {
		return nil, errChaos
	}
	for {
		s.mu.Lock()
		var all []stream.Delivery
		for i, e := range s.log {
			if e.Topic == s.topic && !s.acked[i] && (!s.out[i] || s.goesWrong()) {
				all = append(all, stream.Delivery{Event: e, Tag: uint64(i)})
			}
		}
		if s.goesWrong() {
			s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			all = all[:s.rng.IntN(len(all)+1)]
		}
		all = all[:min(len(all), stream.MaxBatch)]
		more := s.more
		for _, d := range all {
			s.out[int(d.Tag)] = true
		}
		wild := s.wild > 0
		s.mu.Unlock()
		if len(all) > 0 {
			return all, nil
		}
		again := make(<-chan time.Time)
		if wild {
			again = time.After(time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-more:
		case <-again:
		}
	}
}

func (s *chaosSubscription) Ack(tags ...uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.goesWrong() {
		return errChaos
	}
	acked := make(map[int]bool)
	for _, tag := range tags {
		if !s.goesWrong() {
			acked[int(tag)] = true
		}
	}
	maps.Copy(s.acked, acked)
	return nil
}

func (s *chaosSubscription) Nack(time.Duration, ...uint64) error { return nil }
func (s *chaosSubscription) Extend(...uint64) error              { return nil }
func (s *chaosSubscription) Close() error                        { return nil }
