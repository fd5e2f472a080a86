// Package streamtest is what holds for every event stream, as cases that an engine or a client is put to. Those of
// MicroCases need nothing but Micro's own interface, so that they can be put to Micro's streams as well.
package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// limit is how long a case may take.
	limit = time.Minute
	// soon is within what time something has to happen that is to happen at once.
	soon = 2 * time.Second
	// quiet is for how long nothing may happen that is not to happen.
	quiet = 300 * time.Millisecond
)

// Case is something that holds for every Stream. It takes topics of its own, so that cases can run at the same time.
type Case struct {
	Name string
	Run  func(ctx context.Context, s stream.Stream) error
}

// MicroCase is something that holds for every stream of Micro's.
type MicroCase struct {
	Name string
	Run  func(ctx context.Context, s events.Stream) error
}

// Run puts a stream to all cases.
func Run(t *testing.T, s stream.Stream) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, s); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, c := range MicroCases() {
		t.Run("micro/"+c.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, s); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Failing returns the names of the cases that a stream of Micro's fails. Each gets a stream of its own.
func Failing(ctx context.Context, open func() (events.Stream, error)) ([]string, error) {
	var failing []string
	for _, c := range MicroCases() {
		s, err := open()
		if err != nil {
			return nil, err
		}
		within, cancel := context.WithTimeout(ctx, limit)
		if c.Run(within, s) != nil {
			failing = append(failing, c.Name)
		}
		cancel()
	}
	return failing, nil
}

// newTopic is the name of a topic that nobody else has.
func newTopic(what string) string { return what + " " + uuid.NewString() }

// numbered are events of a topic whose payloads are the numbers from the first on.
func numbered(topic string, first, n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = &events.Event{Topic: topic, Payload: fmt.Append(nil, first+i)}
	}
	return batch
}

// publish publishes numbered events.
func publish(ctx context.Context, s stream.Stream, topic string, first, n int) error {
	for n > 0 {
		some := min(n, stream.MaxBatch)
		if _, err := s.PublishBatch(ctx, numbered(topic, first, some)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		first, n = first+some, n-some
	}
	return nil
}

// receive receives n events, or as many as come soon.
func receive(ctx context.Context, sub stream.Subscription, n int) ([]stream.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*soon)
	defer cancel()
	var all []stream.Delivery
	for len(all) < n {
		batch, err := sub.Next(ctx)
		if err != nil {
			return all, fmt.Errorf("received %d of %d events: %w", len(all), n, err)
		}
		all = append(all, batch...)
	}
	if len(all) > n {
		return all, fmt.Errorf("received %d events: expected %d", len(all), n)
	}
	return all, nil
}

// nothing makes sure that no event comes for a while.
func nothing(ctx context.Context, sub stream.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	batch, err := sub.Next(ctx)
	if err == nil {
		return fmt.Errorf("received event %s, attempt %d: expected none", batch[0].Payload, batch[0].Attempt)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// inOrder makes sure that deliveries are of numbered events, all of them and in order.
func inOrder(all []stream.Delivery, first, n int) error {
	if len(all) != n {
		return fmt.Errorf("%d events: expected %d", len(all), n)
	}
	for i, d := range all {
		if want := fmt.Append(nil, first+i); !bytes.Equal(d.Payload, want) {
			return fmt.Errorf("event %d is %s: expected %s", i, d.Payload, want)
		}
	}
	return nil
}

func tagsOf(all []stream.Delivery) []uint64 {
	tags := make([]uint64, len(all))
	for i, d := range all {
		tags[i] = d.Tag
	}
	return tags
}

// attempts makes sure that deliveries are all of one attempt.
func attempts(all []stream.Delivery, want int) error {
	i := slices.IndexFunc(all, func(d stream.Delivery) bool { return d.Attempt != want })
	if i >= 0 {
		return fmt.Errorf("event %s is delivered with attempt %d: expected %d", all[i].Payload, all[i].Attempt, want)
	}
	return nil
}
