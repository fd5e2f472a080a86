package stream

import (
	"context"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/errors"
)

const (
	// consumeInFlight is how many events Consume asks for before any is acknowledged.
	consumeInFlight = 1000
	// consumeBytes is how many bytes of events it holds before it asks for no more.
	consumeBytes = 4 << 20
	// resubscribeAfter is how long a broken subscription is waited for at first, and resubscribeWithin at last.
	resubscribeAfter, resubscribeWithin = 50 * time.Millisecond, 5 * time.Second
	// nackAfter is how long the second Nack of an event puts it off, and nackWithin any at most.
	nackAfter, nackWithin = 100 * time.Millisecond, 30 * time.Second
)

// everFuture is an Offset that means from now on.
var everFuture = time.Unix(1<<40, 0)

// Consumers are those that consume in Micro's way: a Stream makes its Consume of it.
type Consumers struct {
	// Subscribe is the stream's.
	Subscribe func(ctx context.Context, options Options) (Subscription, error)
	// Done is closed when the stream closes, which ends all of them.
	Done <-chan struct{}

	running group
}

// Wait returns when all have ended, and lets none begin. It is for after Done was closed.
func (c *Consumers) Wait() { c.running.wait() }

// Consume receives a topic's events in Micro's way; see events.Consume for its options. Without an offset a new group gets
// what is published from now on. Without a group the consumer is one of its own, of which nothing is left when it ends.
//
// With AutoAck, which is the default, an event counts as done when it was taken from the channel. Else whoever takes it has
// AckWait for it: the time begins when it is taken. Some events are kept ready for whoever takes them; when nobody does for
// as long as AckWait, other members of the group get them. Nack has it delivered again to the same group: at once the first time,
// after 100 ms the second, and twice as long each other time, up to 30 s. Any goroutine may acknowledge.
//
// The channel is closed when the options' context ends or the stream closes. When the subscription breaks, a consumer with
// a group subscribes again until it succeeds, and goes on where the group is; the channel of one without is closed.
func (c *Consumers) Consume(topic string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	if topic == "" {
		return nil, events.ErrMissingTopic
	}
	o := events.ConsumeOptions{AutoAck: true}
	for _, f := range opts {
		f(&o)
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	if !o.AutoAck && o.AckWait <= 0 {
		return nil, errors.Invalid("ack_wait", "expected a time above zero, or AutoAck")
	}
	options := Options{Topic: topic, Group: o.Group, Offset: o.Offset, MaxInFlight: consumeInFlight, RetryLimit: retryLimit(o)}
	if o.Offset.Unix() <= 0 { // what is left of no time on its way through Micro's RPC
		options.Offset = everFuture
	}
	if !o.AutoAck {
		options.AckWait = max(o.AckWait, MinAckWait)
	}
	ctx, cancel := context.WithCancel(o.Context)
	sub, err := c.Subscribe(ctx, options)
	if err != nil {
		cancel()
		return nil, err
	}
	run := &consumer{subscribe: c.Subscribe, done: c.Done, options: options, auto: o.AutoAck, out: make(chan events.Event)}
	if !c.running.begin(func() {
		defer close(run.out)
		defer cancel()
		run.until(ctx, sub)
	}) {
		cancel()
		return nil, ErrClosed
	}
	return run.out, nil
}

// retryLimit is Micro's limit, where -1 is without one and 0 is never, as that of Options.
func retryLimit(o events.ConsumeOptions) int {
	switch limit := o.GetRetryLimit(); {
	case limit < 0:
		return 0
	case limit == 0:
		return -1
	default:
		return limit
	}
}

// consumer is one that consumes.
type consumer struct {
	subscribe func(ctx context.Context, options Options) (Subscription, error)
	done      <-chan struct{}
	options   Options
	auto      bool
	out       chan events.Event
}

// until consumes until ctx ends or the stream closes, or for as long as a subscription lasts that cannot be had again.
func (c *consumer) until(ctx context.Context, sub Subscription) {
	for {
		err := c.deliver(ctx, sub)
		_ = sub.Close() // it has broken, or nobody is interested any more
		if c.ended(ctx) {
			return
		}
		if c.options.Group == "" {
			logger.Warnf("A consumer of the topic %s has ended: %v", c.options.Topic, err)
			return
		}
		logger.Warnf("A consumer of the topic %s subscribes again: %v", c.options.Topic, err)
		if sub = c.again(ctx); sub == nil {
			return
		}
	}
}

// again subscribes until that succeeds, or cannot any more.
func (c *consumer) again(ctx context.Context) Subscription {
	for wait := resubscribeAfter; ; wait = min(2*wait, resubscribeWithin) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-c.done:
		}
		timer.Stop()
		if c.ended(ctx) {
			return nil
		}
		sub, err := c.subscribe(ctx, c.options)
		if err == nil {
			return sub
		}
		if errors.Permanent(err) && !c.ended(ctx) {
			logger.Errorf("A consumer of the topic %s has ended: %v", c.options.Topic, err)
			return nil
		}
	}
}

func (c *consumer) ended(ctx context.Context) bool {
	select {
	case <-c.done:
		return true
	default:
		return ctx.Err() != nil
	}
}

// deliver hands out what a subscription receives, until that breaks. What waits to be taken is kept from being delivered
// again: its time begins when it is taken.
func (c *consumer) deliver(ctx context.Context, sub Subscription) error {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan []Delivery)
	var broken error // for after batches was closed
	var receiving sync.WaitGroup
	defer receiving.Wait()
	defer cancel()
	receiving.Go(func() {
		defer close(batches)
		for {
			batch, err := sub.Next(ctx)
			if err != nil {
				broken = err
				return
			}
			select {
			case batches <- batch:
			case <-ctx.Done():
				return
			}
		}
	})
	wait := c.options.AckWait
	if wait == 0 {
		wait = DefaultAckWait
	}
	held := &holding{sub: sub, wait: wait, moved: time.Now()}
	tick := time.NewTicker(wait / 4)
	defer tick.Stop()
	for {
		in, out, first := batches, c.out, events.Event{}
		if held.bytes > consumeBytes {
			in = nil
		}
		if len(held.queue) == 0 {
			out = nil
		} else {
			first = c.event(sub, held.queue[0])
		}
		select {
		case batch, ok := <-in:
			if !ok {
				return broken
			}
			held.add(batch)
		case out <- first:
			tag := held.take()
			if c.auto {
				if err := held.done(tag); err != nil {
					return err
				}
			}
		case <-tick.C:
			if err := held.keep(); err != nil {
				return err
			}
		case <-ctx.Done():
			return held.flush()
		case <-c.done:
			return held.flush()
		}
	}
}

// event is what is handed out of a delivery.
func (c *consumer) event(sub Subscription, d Delivery) events.Event {
	e := *d.Event
	ack, nack := func() error { return nil }, func() error { return nil }
	if !c.auto {
		ack = func() error { return sub.Ack(d.Tag) }
		nack = func() error { return sub.Nack(nackDelay(d.Attempt), d.Tag) }
	}
	e.SetAckFunc(ack)
	e.SetNackFunc(nack)
	return e
}

// nackDelay is for how long a delivery is put off.
func nackDelay(attempt int) time.Duration {
	if attempt <= 1 {
		return 0
	}
	return min(nackAfter<<min(attempt-2, 10), nackWithin)
}

// holding is what waits to be taken, and what was taken and is to be acknowledged.
type holding struct {
	sub   Subscription
	wait  time.Duration // AckWait
	queue []Delivery
	bytes int
	taken []uint64
	moved time.Time // when something was taken last, or came when nothing was there
}

func (h *holding) add(batch []Delivery) {
	if len(h.queue) == 0 {
		h.moved = time.Now()
	}
	h.queue = append(h.queue, batch...)
	for _, d := range batch {
		h.bytes += Size(d.Event)
	}
}

func (h *holding) take() uint64 {
	d := h.queue[0]
	h.queue[0] = Delivery{}
	h.queue = h.queue[1:]
	h.bytes -= Size(d.Event)
	h.moved = time.Now()
	return d.Tag
}

// done acknowledges what was taken, many at once when many wait.
func (h *holding) done(tag uint64) error {
	h.taken = append(h.taken, tag)
	if len(h.queue) > 0 && len(h.taken) < 100 {
		return nil
	}
	return h.flush()
}

func (h *holding) flush() error {
	if len(h.taken) == 0 {
		return nil
	}
	err := h.sub.Ack(h.taken...)
	h.taken = h.taken[:0]
	return err
}

// keep has what waits wait longer, or leaves it to others when nobody takes any of it.
func (h *holding) keep() error {
	if err := h.flush(); err != nil || len(h.queue) == 0 {
		return err
	}
	tags := make([]uint64, len(h.queue))
	for i, d := range h.queue {
		tags[i] = d.Tag
	}
	if time.Since(h.moved) < h.wait {
		return h.sub.Extend(tags...)
	}
	h.queue, h.bytes = nil, 0
	return h.sub.Nack(0, tags...)
}
