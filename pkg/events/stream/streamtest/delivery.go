package streamtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/internal/casetest"
)

func deliveryCases() []Case {
	return []Case{
		{"delivers in order", delivers},
		{"delivers to one member of each group", oneOfEach},
		{"delivers to a group of its own", loner},
		{"goes on where the group is", goesOn},
		{"repeats what is not acknowledged soon after AckWait", repeats},
		{"repeats to a member that can take no more", repeatsToFull},
		{"waits longer for what is extended", extends},
		{"puts off what is nacked, for its group only", nacks},
		{"gives up at the retry limit", retryLimit},
		{"begins at an offset in time", offset},
		{"sends no more than may be in flight", inFlight},
		{"gives back at once and in order what a member leaves behind", givesBack},
		{"gives a member's events to others when it closes", givesToOthers},
		{"ends a subscription with its context", endsWithContext},
		{"ignores tags that it does not know", unknownTags},
	}
}

// member subscribes to a topic from its beginning.
func member(ctx context.Context, s stream.Stream, topic, group string, change ...func(*stream.Options)) (stream.Subscription, error) {
	o := stream.Options{Topic: topic, Group: group}
	for _, f := range change {
		f(&o)
	}
	return s.Subscribe(ctx, o)
}

func ackWait(d time.Duration) func(*stream.Options) { return func(o *stream.Options) { o.AckWait = d } }

func most(n int) func(*stream.Options) { return func(o *stream.Options) { o.MaxInFlight = n } }

func delivers(ctx context.Context, s stream.Stream) error {
	const n = 5000
	topic := newTopic("delivers")
	if err := publish(ctx, s, topic, 0, n); err != nil {
		return err
	}
	sub, err := member(ctx, s, topic, "g")
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	for got := 0; got < n; {
		batch, err := sub.Next(ctx)
		if err := casetest.First(err, inOrder(batch, got, len(batch)), attempts(batch, 1), sub.Ack(tagsOf(batch)...)); err != nil {
			return err
		}
		got += len(batch)
	}
	return nothing(ctx, sub)
}

func oneOfEach(ctx context.Context, s stream.Stream) error {
	const n = 300
	topic := newTopic("one of each")
	if err := publish(ctx, s, topic, 0, n); err != nil {
		return err
	}
	for _, group := range []string{"a", "b"} {
		var members [3]stream.Subscription
		for i := range members {
			var err error
			if members[i], err = member(ctx, s, topic, group, most(50)); err != nil {
				return err
			}
		}
		seen := make(map[string]bool)
		for len(seen) < n {
			for _, sub := range members {
				batch, err := nextWithin(ctx, sub, 50*time.Millisecond)
				if err != nil {
					return err
				}
				for _, d := range batch {
					if seen[string(d.Payload)] {
						return fmt.Errorf("group %s got event %s twice", group, d.Payload)
					}
					seen[string(d.Payload)] = true
				}
				if err := sub.Ack(tagsOf(batch)...); err != nil {
					return err
				}
			}
		}
		for _, sub := range members {
			if err := casetest.First(nothing(ctx, sub), sub.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextWithin is what comes within a time, which may be nothing.
func nextWithin(ctx context.Context, sub stream.Subscription, d time.Duration) ([]stream.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	batch, err := sub.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return batch, err
}

func loner(ctx context.Context, s stream.Stream) error {
	topic := newTopic("loner")
	if err := publish(ctx, s, topic, 0, 3); err != nil {
		return err
	}
	for range 2 {
		sub, err := member(ctx, s, topic, "")
		if err != nil {
			return err
		}
		all, err := receive(ctx, sub, 3)
		if err := casetest.First(err, inOrder(all, 0, 3), sub.Ack(tagsOf(all)...), sub.Close()); err != nil {
			return err
		}
	}
	return nil
}

func goesOn(ctx context.Context, s stream.Stream) error {
	topic := newTopic("goes on")
	for i := range 5 {
		if err := publish(ctx, s, topic, i, 1); err != nil {
			return err
		}
		sub, err := member(ctx, s, topic, "g")
		if err != nil {
			return err
		}
		all, err := receive(ctx, sub, 1)
		if err := casetest.First(err, inOrder(all, i, 1), attempts(all, 1), sub.Ack(tagsOf(all)...), sub.Close()); err != nil {
			return err
		}
	}
	return nil
}

func repeats(ctx context.Context, s stream.Stream) error {
	const wait = 400 * time.Millisecond
	topic := newTopic("repeats")
	sub, err := member(ctx, s, topic, "g", ackWait(wait))
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	if err := publish(ctx, s, topic, 0, 10); err != nil {
		return err
	}
	all, err := receive(ctx, sub, 10)
	if err := casetest.First(err, sub.Ack(all[5].Tag)); err != nil {
		return err
	}
	began := time.Now()
	batch, err := sub.Next(ctx)
	took := time.Since(began)
	if err := casetest.First(err, casetest.Expect(took > wait*3/4 && took < wait+soon, "it repeats after %s", took)); err != nil {
		return err
	}
	more, err := receive(ctx, sub, 9-len(batch))
	again := append(batch, more...)
	return casetest.First(err, attempts(again, 2), inOrder(again[:5], 0, 5), inOrder(again[5:], 6, 4), sub.Ack(tagsOf(again)...))
}

func repeatsToFull(ctx context.Context, s stream.Stream) error {
	topic := newTopic("repeats to full")
	sub, err := member(ctx, s, topic, "g", ackWait(200*time.Millisecond), most(1))
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	if err := publish(ctx, s, topic, 0, 2); err != nil {
		return err
	}
	for attempt := 1; attempt <= 3; attempt++ {
		all, err := receive(ctx, sub, 1)
		if err := casetest.First(err, inOrder(all, 0, 1), attempts(all, attempt)); err != nil {
			return err
		}
	}
	return nil
}

func extends(ctx context.Context, s stream.Stream) error {
	const wait = 500 * time.Millisecond
	topic := newTopic("extends")
	sub, err := member(ctx, s, topic, "g", ackWait(wait))
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	if err := publish(ctx, s, topic, 0, 1); err != nil {
		return err
	}
	all, err := receive(ctx, sub, 1)
	if err != nil {
		return err
	}
	for range 6 {
		batch, err := nextWithin(ctx, sub, wait/4)
		if err := casetest.First(err, casetest.Expect(len(batch) == 0, "it repeats"), sub.Extend(tagsOf(all)...)); err != nil {
			return err
		}
	}
	all, err = receive(ctx, sub, 1)
	return casetest.First(err, attempts(all, 2))
}

func nacks(ctx context.Context, s stream.Stream) error {
	const delay = 400 * time.Millisecond
	topic := newTopic("nacks")
	if err := publish(ctx, s, topic, 0, 3); err != nil {
		return err
	}
	other, err := member(ctx, s, topic, "other")
	if err != nil {
		return err
	}
	defer other.Close() //nolint:errcheck // of no interest here
	all, err := receive(ctx, other, 3)
	if err := casetest.First(err, other.Ack(tagsOf(all)...)); err != nil {
		return err
	}
	sub, err := member(ctx, s, topic, "g")
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	if all, err = receive(ctx, sub, 3); err != nil {
		return err
	}
	began := time.Now()
	if err := casetest.First(sub.Ack(all[2].Tag), sub.Nack(delay, all[0].Tag), sub.Nack(0, all[1].Tag)); err != nil {
		return err
	}
	if all, err = receive(ctx, sub, 1); err != nil {
		return err
	}
	took := time.Since(began)
	if err := casetest.First(inOrder(all, 1, 1), attempts(all, 2), casetest.Expect(took < delay, "what is not put off comes after %s", took), sub.Ack(all[0].Tag)); err != nil {
		return err
	}
	if all, err = receive(ctx, sub, 1); err != nil {
		return err
	}
	took = time.Since(began)
	return casetest.First(inOrder(all, 0, 1), attempts(all, 2), casetest.Expect(took > delay*9/10 && took < delay+soon, "what is put off comes after %s", took),
		sub.Ack(all[0].Tag), nothing(ctx, sub), nothing(ctx, other),
		casetest.Expect(sub.Nack(-1, 1) != nil, "a delay below zero is no error"))
}

func retryLimit(ctx context.Context, s stream.Stream) error {
	for limit, deliveries := range map[int]int{-1: 1, 2: 3} {
		topic := newTopic("retry limit")
		sub, err := member(ctx, s, topic, "g", func(o *stream.Options) { o.RetryLimit = limit })
		if err != nil {
			return err
		}
		if err := publish(ctx, s, topic, 0, 2); err != nil {
			return err
		}
		var acked bool
		for attempt := range deliveries {
			all, err := receive(ctx, sub, 2-min(attempt, 1))
			if err := casetest.First(err, attempts(all, attempt+1)); err != nil {
				return fmt.Errorf("limit %d: %w", limit, err)
			}
			if !acked {
				acked = true
				if err := sub.Ack(all[1].Tag); err != nil {
					return err
				}
			}
			if err := sub.Nack(0, all[0].Tag); err != nil {
				return err
			}
		}
		if err := casetest.First(nothing(ctx, sub), publish(ctx, s, topic, 2, 1)); err != nil {
			return fmt.Errorf("limit %d: %w", limit, err)
		}
		all, err := receive(ctx, sub, 1) // it goes on
		if err := casetest.First(err, inOrder(all, 2, 1), sub.Close()); err != nil {
			return fmt.Errorf("limit %d: %w", limit, err)
		}
	}
	return nil
}

func offset(ctx context.Context, s stream.Stream) error {
	topic := newTopic("offset")
	if err := casetest.First(publish(ctx, s, topic, 0, 10), casetest.Pass(ctx, 10*time.Millisecond)); err != nil {
		return err
	}
	at := time.Now()
	if err := casetest.First(casetest.Pass(ctx, 10*time.Millisecond), publish(ctx, s, topic, 10, 10)); err != nil {
		return err
	}
	from := func(at time.Time) func(*stream.Options) { return func(o *stream.Options) { o.Offset = at } }
	future, err := member(ctx, s, topic, "future", from(at.Add(time.Hour)))
	if err != nil {
		return err
	}
	since, err := member(ctx, s, topic, "since", from(at))
	if err != nil {
		return err
	}
	old, err := member(ctx, s, topic, "old", from(time.Unix(1, 0)))
	if err := casetest.First(err, publish(ctx, s, topic, 20, 1)); err != nil {
		return err
	}
	for sub, begin := range map[stream.Subscription]int{future: 20, since: 10, old: 0} {
		all, err := receive(ctx, sub, 21-begin)
		if err := casetest.First(err, inOrder(all, begin, 21-begin), sub.Ack(tagsOf(all)...), sub.Close()); err != nil {
			return err
		}
	}
	// A group that there is goes on.
	again, err := member(ctx, s, topic, "since", from(time.Unix(1, 0)))
	if err != nil {
		return err
	}
	return casetest.First(nothing(ctx, again), again.Close())
}

func inFlight(ctx context.Context, s stream.Stream) error {
	topic := newTopic("in flight")
	if err := publish(ctx, s, topic, 0, 1000); err != nil {
		return err
	}
	sub, err := member(ctx, s, topic, "g", most(10))
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	all, err := receive(ctx, sub, 10)
	if err := casetest.First(err, inOrder(all, 0, 10), nothing(ctx, sub), sub.Ack(tagsOf(all[:3])...)); err != nil {
		return err
	}
	more, err := receive(ctx, sub, 3)
	if err := casetest.First(err, inOrder(more, 10, 3), nothing(ctx, sub), sub.Ack(tagsOf(all[3:])...), sub.Ack(tagsOf(more)...)); err != nil {
		return err
	}
	more, err = receive(ctx, sub, 10)
	return casetest.First(err, inOrder(more, 13, 10))
}

func givesBack(ctx context.Context, s stream.Stream) error {
	const n = 500
	topic := newTopic("gives back")
	if err := publish(ctx, s, topic, 0, n); err != nil {
		return err
	}
	acked := 0
	for round := range 5 {
		sub, err := member(ctx, s, topic, "g", most(100), ackWait(time.Hour))
		if err != nil {
			return err
		}
		all, err := receive(ctx, sub, 100)
		if err := casetest.First(err, inOrder(all, acked, 100)); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := casetest.First(sub.Ack(tagsOf(all[:10])...), sub.Close()); err != nil {
			return err
		}
		acked += 10
		if _, err := sub.Next(ctx); err == nil {
			return errors.New("what is closed still delivers")
		}
	}
	sub, err := member(ctx, s, topic, "g")
	if err != nil {
		return err
	}
	all, err := receive(ctx, sub, n-acked)
	return casetest.First(err, inOrder(all, acked, n-acked), sub.Close())
}

func givesToOthers(ctx context.Context, s stream.Stream) error {
	topic := newTopic("gives to others")
	leaves, err := member(ctx, s, topic, "g", ackWait(time.Hour))
	if err != nil {
		return err
	}
	if err := publish(ctx, s, topic, 0, 10); err != nil {
		return err
	}
	all, err := receive(ctx, leaves, 10)
	if err != nil {
		return err
	}
	stays, err := member(ctx, s, topic, "g", ackWait(time.Hour))
	if err != nil {
		return err
	}
	if err := casetest.First(nothing(ctx, stays), leaves.Ack(tagsOf(all[:5])...), leaves.Close(), leaves.Close()); err != nil {
		return err
	}
	rest, err := receive(ctx, stays, 5)
	return casetest.First(err, inOrder(rest, 5, 5), attempts(rest, 2), stays.Close())
}

func endsWithContext(ctx context.Context, s stream.Stream) error {
	topic := newTopic("ends with context")
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, err := member(within, s, topic, "g", ackWait(time.Hour))
	if err != nil {
		return err
	}
	if err := publish(ctx, s, topic, 0, 5); err != nil {
		return err
	}
	all, err := receive(ctx, sub, 5)
	if err := casetest.First(err, sub.Ack(tagsOf(all[:2])...)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := sub.Next(ctx)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			return errors.New("an event comes")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	other, err := member(ctx, s, topic, "g")
	if err != nil {
		return err
	}
	rest, err := receive(ctx, other, 3)
	return casetest.First(err, inOrder(rest, 2, 3), other.Close())
}

func unknownTags(ctx context.Context, s stream.Stream) error {
	topic := newTopic("unknown tags")
	sub, err := member(ctx, s, topic, "g")
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	if err := casetest.First(sub.Ack(), sub.Ack(7), sub.Nack(0, 8), sub.Extend(9), publish(ctx, s, topic, 0, 1)); err != nil {
		return err
	}
	all, err := receive(ctx, sub, 1)
	return casetest.First(err, sub.Ack(all[0].Tag), sub.Ack(all[0].Tag), sub.Nack(0, all[0].Tag), nothing(ctx, sub))
}
