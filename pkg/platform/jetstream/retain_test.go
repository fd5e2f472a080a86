package jetstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// clock is a clock that is turned.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) turn(d time.Duration) { c.ahead.Add(int64(d)) }

// kept is how many events a topic has.
func kept(t *testing.T, e *Engine, topic string) int {
	t.Helper()
	state, err := e.find(topic).info(t.Context())
	require.NoError(t, err)
	return int(state.Msgs)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	var c clock
	e := open(t, Config{Retention: time.Hour, now: c.now})
	publish(t, e, "topic", 0, 10)
	publish(t, e, "nobody's", 0, 10)
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g"})
	slow := subscribe(t, e, stream.Options{Topic: "topic", Group: "slow"})
	require.NoError(t, sub.Ack(receive(t, sub, 0, 10)...))
	require.NoError(t, slow.Ack(receive(t, slow, 0, 10)[:4]...))
	require.NoError(t, e.Sweep(t.Context()))
	require.Equal(t, 10, kept(t, e, "topic"), "nothing is old")
	c.turn(2 * time.Hour)
	require.Eventually(t, func() bool { // acknowledgements are on their way
		require.NoError(t, e.Sweep(t.Context()))
		return kept(t, e, "topic") == 6
	}, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, kept(t, e, "nobody's"))
	publish(t, e, "nobody's", 10, 1)
	receive(t, subscribe(t, e, stream.Options{Topic: "nobody's", Group: "g"}), 10, 1)

	// The groups have members: they stay, for however long.
	for range 20 {
		c.turn(time.Hour)
		require.NoError(t, e.Sweep(t.Context()))
	}
	require.Equal(t, 6, kept(t, e, "topic"))
	require.NoError(t, slow.Close())
	again := subscribe(t, e, stream.Options{Topic: "topic", Group: "slow"})
	tags := receive(t, again, 4, 6)
	require.NoError(t, again.Ack(tags...))
}

func TestYoungEventsStay(t *testing.T) {
	t.Parallel()
	var c clock
	e := open(t, Config{Retention: 2 * time.Second, now: c.now})
	publish(t, e, "topic", 0, 5)
	old := time.Now()
	require.Eventually(t, func() bool { return time.Since(old) > 500*time.Millisecond }, 5*time.Second, 10*time.Millisecond)
	publish(t, e, "topic", 5, 5)
	c.turn(1800 * time.Millisecond)
	require.NoError(t, e.Sweep(t.Context()))
	require.Equal(t, 5, kept(t, e, "topic"))
}

func TestDesertedGroupsAreRemoved(t *testing.T) {
	t.Parallel()
	var c clock
	dir := t.TempDir()
	e := open(t, Config{Dir: dir, Retention: time.Hour, now: c.now})
	publish(t, e, "topic", 0, 10)
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g"})
	receive(t, sub, 0, 10)
	require.NoError(t, sub.Close())
	require.NoError(t, e.Close())

	e = open(t, Config{Dir: dir, Retention: time.Hour, now: c.now})
	c.turn(50 * time.Minute)
	require.NoError(t, e.Sweep(t.Context()))
	require.Equal(t, 10, kept(t, e, "topic"), "it may come back")
	c.turn(20 * time.Minute)
	require.NoError(t, e.Sweep(t.Context()))
	require.Zero(t, kept(t, e, "topic"))
	groups, err := e.find("topic").consumers(t.Context())
	require.NoError(t, err)
	require.Empty(t, groups)
	publish(t, e, "topic", 10, 1)
	receive(t, subscribe(t, e, stream.Options{Topic: "topic", Group: "g"}), 10, 1)
}

func payload(n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = &events.Event{Topic: "topic", Payload: make([]byte, 10_000)}
	}
	return batch
}

func TestFullTopic(t *testing.T) {
	t.Parallel()
	e := open(t, Config{MaxBytes: 2 << 20})
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "slow", AckWait: time.Hour})
	published := 0
	var err error
	for err == nil {
		if _, err = e.PublishBatch(t.Context(), payload(10)); err == nil {
			published += 10
		}
	}
	passing, ok := errors.AsType[*stream.PassingError](err)
	require.True(t, ok, "%v", err)
	require.False(t, kinds.Permanent(err))
	require.Contains(t, passing.Detail, "the group slow, which is ")
	require.Greater(t, published, 190)
	require.Equal(t, published, kept(t, e, "topic"), "nothing of the batch that was refused")
	require.NoError(t, e.Publish("another", []byte("x")))

	// When it has acknowledged, there is room again, whatever the age.
	got := 0
	for got < published {
		batch, err := sub.Next(t.Context())
		require.NoError(t, err)
		got += len(batch)
		require.NoError(t, sub.Ack(tagsOf(batch)...))
	}
	require.Eventually(t, func() bool {
		_, err := e.PublishBatch(t.Context(), payload(10))
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)

	// It goes on like that for ever.
	for range 100 {
		_, err := e.PublishBatch(t.Context(), payload(10))
		require.NoError(t, err)
		for n := 0; n < 10; {
			batch, err := sub.Next(t.Context())
			require.NoError(t, err)
			n += len(batch)
			require.NoError(t, sub.Ack(tagsOf(batch)...))
		}
	}
	require.NoError(t, e.Sweep(t.Context()))
	require.Less(t, kept(t, e, "topic"), 160, "of a topic that is three quarters full, a half is left")
}

// Nobody consumes: the oldest go.
func TestFullTopicOfNobody(t *testing.T) {
	t.Parallel()
	e := open(t, Config{MaxBytes: 2 << 20})
	for range 100 {
		_, err := e.PublishBatch(t.Context(), payload(10))
		require.NoError(t, err)
	}
	require.Less(t, kept(t, e, "topic"), 210)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 30)
	e := open(t, Config{Reserve: 1 << 20, free: func(string) (int64, error) { return free.Load(), nil }})
	publish(t, e, "topic", 0, 10)
	require.NoError(t, e.Check(t.Context()))
	free.Store(1<<20 - 1)
	var err error
	require.Eventually(t, func() bool {
		err = e.Publish("another", []byte("x")) // a moment ago there was room
		return err != nil
	}, 5*time.Second, 10*time.Millisecond)
	require.ErrorContains(t, err, "the disk of the event stream is full")
	require.False(t, kinds.Permanent(err))
	require.Error(t, e.Check(t.Context()))
	require.Error(t, e.Publish("new topic", []byte("x")))
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g"}) // who consumes goes on
	require.Len(t, receive(t, sub, 0, 10), 10)
	free.Store(1 << 30)
	require.Eventually(t, func() bool { return e.Publish("topic", []byte("x")) == nil }, 5*time.Second, 10*time.Millisecond)
}

// The server gives up when it cannot write.
func TestFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	publish(t, e, "topic", 0, 10)
	require.NoError(t, e.Err())
	e.log.quiet.Store(true)
	require.NoError(t, e.server.ShutdownJetStream()) // as it does itself
	<-e.Failed()
	require.ErrorContains(t, e.Err(), "cannot write to its disk")
	require.Error(t, e.Check(t.Context()))
	_, err := e.PublishBatch(t.Context(), numbered("topic", 10, 1))
	require.Error(t, err)
	require.False(t, kinds.Permanent(err))
	require.NoError(t, e.Close())
	e = open(t, Config{Dir: dir})
	require.Equal(t, 10, kept(t, e, "topic"))
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	e := open(t, Config{})
	publish(t, e, "topic", 0, 1)
	e.mu.Lock()
	for i := range stream.MaxTopics - 1 {
		e.topics[string(rune('a'+i%26))+time.Duration(i).String()] = e.newTopic("x")
	}
	e.mu.Unlock()
	err := e.Publish("one more", []byte("x"))
	require.Equal(t, kinds.KindTooMany, kinds.KindOf(err))
	require.NoError(t, e.Publish("topic", []byte("x")))
	_, err = e.Subscribe(t.Context(), stream.Options{Topic: "one more", Group: "g"})
	require.Equal(t, kinds.KindTooMany, kinds.KindOf(err))
}

// A group is not lost or held up by members that come and go at the same time.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	const n, members = 3000, 4
	e := open(t, Config{})
	publish(t, e, "topic", 0, 1000)
	var mu sync.Mutex
	seen := make(map[string]bool)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range members {
		wg.Go(func() {
			for ctx.Err() == nil {
				sub, err := e.Subscribe(ctx, stream.Options{Topic: "topic", Group: "g", AckWait: time.Hour, MaxInFlight: 100})
				if ctx.Err() != nil {
					return
				}
				if !assert.NoError(t, err) {
					return
				}
				for range 3 {
					// Not for ever: all of them may be holding what the others wait for.
					soon, cancelled := context.WithTimeout(ctx, 50*time.Millisecond)
					batch, err := sub.Next(soon)
					cancelled()
					if err != nil {
						break
					}
					half := batch[:(len(batch)+1)/2]
					assert.NoError(t, sub.Ack(tagsOf(half)...))
					mu.Lock()
					for _, d := range half {
						seen[string(d.Payload)] = true
					}
					if len(seen) == n {
						cancel()
					}
					mu.Unlock()
				}
				assert.NoError(t, sub.Close())
			}
		})
	}
	publish(t, e, "topic", 1000, 1000)
	publish(t, e, "topic", 2000, 1000)
	wg.Wait()
	require.Equal(t, n, len(seen)) //nolint:testifylint // Len prints them all
}
