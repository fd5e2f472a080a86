package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/internal/casetest"
)

// MicroCases are all cases that need nothing but Micro's interface.
func MicroCases() []MicroCase {
	return []MicroCase{
		{"delivers an event as it was published", microDelivers},
		{"writes other messages as JSON", microJSON},
		{"refuses what it cannot publish", microRefuses},
		{"keeps the order", microOrder},
		{"keeps the id and the time of the metadata", microMetadata},
		{"delivers to each group once", microGroups},
		{"shares events among the members of a group", microShares},
		{"delivers at once in manual ack mode", microManual},
		{"asks for an AckWait in manual ack mode", microAckWait},
		{"does not repeat what was acknowledged", microAcknowledged},
		{"repeats after AckWait", microRepeats},
		{"repeats at once after a nack", microNack},
		{"repeats to the group that has nacked alone", microNackGroup},
		{"gives up at the retry limit", microRetryLimit},
		{"begins with the subscription", microBegins},
		{"begins at an offset in time", microOffset},
		{"closes the channel when the context ends", microCloses},
		{"gives back what a member leaves behind", microGivesBack},
	}
}

// take takes an event from a channel, soon.
func take(ctx context.Context, ch <-chan events.Event) (events.Event, error) {
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case e, ok := <-ch:
		return e, casetest.Expect(ok, "the channel is closed")
	case <-timer.C:
		return events.Event{}, errors.New("no event comes")
	case <-ctx.Done():
		return events.Event{}, ctx.Err()
	}
}

// takeNone makes sure that no event comes for a while.
func takeNone(ch <-chan events.Event, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case e, ok := <-ch:
		if !ok {
			return errors.New("the channel is closed")
		}
		return fmt.Errorf("event %s comes: expected none", e.Payload)
	case <-timer.C:
		return nil
	}
}

// acked acknowledges an event that was taken.
func acked(e events.Event, err error) error {
	if err != nil {
		return err
	}
	return e.Ack()
}

func manual(ctx context.Context, group string, wait time.Duration) []events.ConsumeOption {
	return []events.ConsumeOption{events.WithContext(ctx), events.WithGroup(group), events.WithAutoAck(false, wait)}
}

func microDelivers(ctx context.Context, s events.Stream) error {
	topic := newTopic("delivers")
	ch, err := s.Consume(topic, events.WithContext(ctx))
	if err != nil {
		return err
	}
	for _, payload := range [][]byte{[]byte("hello"), {0, 1, 255}, bytes.Repeat([]byte("x"), 1<<20-100)} {
		if err := s.Publish(topic, payload, events.WithMetadata(map[string]string{"key": "wert ö"})); err != nil {
			return err
		}
		e, err := take(ctx, ch)
		if err != nil {
			return err
		}
		if err := casetest.First(
			casetest.Expect(e.Topic == topic, "topic %q", e.Topic),
			casetest.Expect(bytes.Equal(e.Payload, payload), "another payload"),
			casetest.Expect(e.Metadata["key"] == "wert ö", "metadata %v", e.Metadata),
			casetest.Expect(uuid.Validate(e.ID) == nil, "id %q", e.ID),
			casetest.Expect(time.Since(e.Timestamp).Abs() < time.Minute, "time %s", e.Timestamp),
		); err != nil {
			return err
		}
	}
	return nil
}

func microJSON(ctx context.Context, s events.Stream) error {
	topic := newTopic("json")
	ch, err := s.Consume(topic, events.WithContext(ctx))
	if err != nil {
		return err
	}
	if err := s.Publish(topic, map[string]int{"n": 1}); err != nil {
		return err
	}
	e, err := take(ctx, ch)
	if err != nil {
		return err
	}
	var m map[string]int
	return casetest.First(e.Unmarshal(&m), casetest.Expect(m["n"] == 1, "payload %s", e.Payload))
}

func microRefuses(_ context.Context, s events.Stream) error {
	_, err := s.Consume("")
	return casetest.First(
		casetest.Expect(errors.Is(err, events.ErrMissingTopic), "consume: %v", err),
		casetest.Expect(errors.Is(s.Publish("", []byte("x")), events.ErrMissingTopic), "publish without a topic"),
		casetest.Expect(errors.Is(s.Publish("refuses", math.Inf(1)), events.ErrEncodingMessage), "publish what JSON cannot say"),
	)
}

func microOrder(ctx context.Context, s events.Stream) error {
	const n = 1000
	topic := newTopic("order")
	ch, err := s.Consume(topic, events.WithContext(ctx))
	if err != nil {
		return err
	}
	for i := range n {
		if err := s.Publish(topic, fmt.Append(nil, i)); err != nil {
			return err
		}
	}
	for i := range n {
		e, err := take(ctx, ch)
		if err != nil {
			return err
		}
		if want := fmt.Append(nil, i); !bytes.Equal(e.Payload, want) {
			return fmt.Errorf("event %s comes: expected %s", e.Payload, want)
		}
	}
	return takeNone(ch, quiet)
}

func microMetadata(ctx context.Context, s events.Stream) error {
	topic, id, at := newTopic("metadata"), uuid.NewString(), time.Unix(1700000000, 123456789).UTC()
	ch, err := s.Consume(topic, events.WithContext(ctx))
	if err != nil {
		return err
	}
	given := map[string]string{stream.IDKey: id, stream.TimeKey: at.Format(time.RFC3339Nano)}
	// The time of the options is what Micro's own RPC leaves of it.
	if err := s.Publish(topic, []byte("x"), events.WithMetadata(given), events.WithTimestamp(at.Truncate(time.Second))); err != nil {
		return err
	}
	e, err := take(ctx, ch)
	return casetest.First(err,
		casetest.Expect(e.ID == id && e.Metadata[stream.IDKey] == id, "id %s, in the metadata %s: expected %s", e.ID, e.Metadata[stream.IDKey], id),
		casetest.Expect(e.Timestamp.Equal(at), "time %s: expected %s", e.Timestamp, at),
	)
}

func microGroups(ctx context.Context, s events.Stream) error {
	topic := newTopic("groups")
	groups := make(map[string][]<-chan events.Event)
	for _, group := range []string{"a", "a", "b", "b", "c"} {
		ch, err := s.Consume(topic, events.WithContext(ctx), events.WithGroup(group))
		if err != nil {
			return err
		}
		groups[group] = append(groups[group], ch)
	}
	const n = 20
	for i := range n {
		if err := s.Publish(topic, fmt.Append(nil, i)); err != nil {
			return err
		}
	}
	for group, channels := range groups {
		seen := make(map[string]int)
		for range n {
			e, err := takeAny(ctx, channels)
			if err != nil {
				return fmt.Errorf("group %s: %w", group, err)
			}
			seen[string(e.Payload)]++
		}
		if len(seen) != n {
			return fmt.Errorf("group %s got %d different events: expected %d", group, len(seen), n)
		}
		for _, ch := range channels {
			if err := takeNone(ch, quiet/4); err != nil {
				return fmt.Errorf("group %s: %w", group, err)
			}
		}
	}
	return nil
}

// takeAny takes an event of one of one or two channels, soon.
func takeAny(ctx context.Context, channels []<-chan events.Event) (events.Event, error) {
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case e, ok := <-channels[0]:
		return e, casetest.Expect(ok, "the channel is closed")
	case e, ok := <-channels[len(channels)-1]:
		return e, casetest.Expect(ok, "the channel is closed")
	case <-timer.C:
		return events.Event{}, errors.New("no event comes")
	case <-ctx.Done():
		return events.Event{}, ctx.Err()
	}
}

func microShares(ctx context.Context, s events.Stream) error {
	topic := newTopic("shares")
	var members [2]<-chan events.Event
	for i := range members {
		var err error
		if members[i], err = s.Consume(topic, events.WithContext(ctx), events.WithGroup("g")); err != nil {
			return err
		}
	}
	var got [2]int
	for i := 0; got[0] == 0 || got[1] == 0; i++ {
		if i == 2000 {
			return fmt.Errorf("of %d events one member got %d and the other %d", i, got[0], got[1])
		}
		if err := s.Publish(topic, fmt.Append(nil, i)); err != nil {
			return err
		}
		select {
		case <-members[0]:
			got[0]++
		case <-members[1]:
			got[1]++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func microManual(ctx context.Context, s events.Stream) error {
	topic := newTopic("manual")
	ch, err := s.Consume(topic, manual(ctx, "g", 10*soon)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	return acked(take(ctx, ch))
}

func microAckWait(ctx context.Context, s events.Stream) error {
	_, err := s.Consume(newTopic("ackwait"), events.WithContext(ctx), events.WithAutoAck(false, 0))
	return casetest.Expect(err != nil, "no error")
}

func microAcknowledged(ctx context.Context, s events.Stream) error {
	const wait = 200 * time.Millisecond
	topic := newTopic("acknowledged")
	ch, err := s.Consume(topic, manual(ctx, "g", wait)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	e, err := take(ctx, ch)
	if err != nil {
		return err
	}
	// After a moment, as whoever does something with it: Micro's stream in memory forgets what is acknowledged at once, but
	// not each time.
	if err := casetest.First(casetest.Pass(ctx, wait/4), e.Ack()); err != nil {
		return err
	}
	return takeNone(ch, 3*wait)
}

func microRepeats(ctx context.Context, s events.Stream) error {
	const wait = 500 * time.Millisecond
	topic := newTopic("repeats")
	ch, err := s.Consume(topic, manual(ctx, "g", wait)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	one, err := take(ctx, ch)
	if err != nil {
		return err
	}
	began := time.Now()
	other, err := take(ctx, ch)
	took := time.Since(began)
	if err := acked(other, err); err != nil {
		return err
	}
	return casetest.First(
		casetest.Expect(one.ID == other.ID, "another event comes"),
		casetest.Expect(took > wait*6/10, "it comes again after %s", took), // a part of the time may have passed when it was taken
	)
}

func microNack(ctx context.Context, s events.Stream) error {
	topic := newTopic("nack")
	ch, err := s.Consume(topic, manual(ctx, "g", 10*soon)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	for range 3 { // at once, and then after a moment
		e, err := take(ctx, ch)
		if err != nil {
			return err
		}
		if err := e.Nack(); err != nil {
			return err
		}
	}
	return nil
}

func microNackGroup(ctx context.Context, s events.Stream) error {
	topic := newTopic("nackgroup")
	nacks, err := s.Consume(topic, manual(ctx, "nacks", 10*soon)...)
	if err != nil {
		return err
	}
	acks, err := s.Consume(topic, manual(ctx, "acks", 10*soon)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	if err := acked(take(ctx, acks)); err != nil {
		return err
	}
	e, err := take(ctx, nacks)
	if err != nil {
		return err
	}
	if err := e.Nack(); err != nil {
		return err
	}
	if err := acked(take(ctx, nacks)); err != nil {
		return err
	}
	return takeNone(acks, quiet)
}

func microRetryLimit(ctx context.Context, s events.Stream) error {
	const wait = 200 * time.Millisecond
	for _, retries := range []int{0, 2} {
		topic := newTopic("retrylimit")
		ch, err := s.Consume(topic, append(manual(ctx, "g", wait), events.WithRetryLimit(retries))...)
		if err != nil {
			return err
		}
		if err := s.Publish(topic, []byte("x")); err != nil {
			return err
		}
		for range retries + 1 {
			if _, err := take(ctx, ch); err != nil {
				return err
			}
		}
		if err := takeNone(ch, 4*wait); err != nil {
			return fmt.Errorf("after %d retries: %w", retries, err)
		}
	}
	return nil
}

func microBegins(ctx context.Context, s events.Stream) error {
	topic := newTopic("begins")
	if err := casetest.First(s.Publish(topic, []byte("before")), casetest.Pass(ctx, 50*time.Millisecond)); err != nil {
		return err
	}
	ch, err := s.Consume(topic, events.WithContext(ctx), events.WithGroup("g"))
	if err != nil {
		return err
	}
	if err := takeNone(ch, quiet); err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("after")); err != nil {
		return err
	}
	e, err := take(ctx, ch)
	return casetest.First(err, casetest.Expect(string(e.Payload) == "after", "event %s comes", e.Payload))
}

func microOffset(ctx context.Context, s events.Stream) error {
	topic := newTopic("offset")
	// Within one second, where a stream that knows no smaller times shows it.
	if now := time.Now(); now.Nanosecond() > 700_000_000 {
		if err := casetest.Pass(ctx, now.Truncate(time.Second).Add(time.Second).Sub(now)); err != nil {
			return err
		}
	}
	if err := casetest.First(s.Publish(topic, []byte("before")), casetest.Pass(ctx, 20*time.Millisecond)); err != nil {
		return err
	}
	offset := time.Now()
	if err := casetest.First(casetest.Pass(ctx, 20*time.Millisecond), s.Publish(topic, []byte("after"))); err != nil {
		return err
	}
	ch, err := s.Consume(topic, events.WithContext(ctx), events.WithOffset(offset))
	if err != nil {
		return err
	}
	e, err := take(ctx, ch)
	return casetest.First(err, casetest.Expect(string(e.Payload) == "after", "event %s comes", e.Payload), takeNone(ch, quiet))
}

func microCloses(ctx context.Context, s events.Stream) error {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	ch, err := s.Consume(newTopic("closes"), events.WithContext(within))
	if err != nil {
		return err
	}
	cancel()
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case _, ok := <-ch:
		return casetest.Expect(!ok, "an event comes")
	case <-timer.C:
		return errors.New("it does not")
	}
}

func microGivesBack(ctx context.Context, s events.Stream) error {
	topic := newTopic("givesback")
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	leaves, err := s.Consume(topic, manual(within, "g", 10*soon)...)
	if err != nil {
		return err
	}
	if err := s.Publish(topic, []byte("x")); err != nil {
		return err
	}
	one, err := take(ctx, leaves)
	if err != nil {
		return err
	}
	cancel()
	stays, err := s.Consume(topic, manual(ctx, "g", 10*soon)...)
	if err != nil {
		return err
	}
	other, err := take(ctx, stays)
	if err := acked(other, err); err != nil {
		return err
	}
	return casetest.Expect(one.ID == other.ID, "another event comes")
}
