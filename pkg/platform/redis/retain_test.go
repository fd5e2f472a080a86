//go:build platform

package redis

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

const mib = 1 << 20

// large are events of 10 KiB, in batches that are full.
func large(topic string, n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = &events.Event{Topic: topic, Payload: bytes.Repeat([]byte("x"), 10<<10)}
	}
	return batch
}

// always makes sure that something holds, again and again for a time. That of require leaves a goroutine behind.
func always(t *testing.T, d time.Duration, holds func() bool, why string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		require.True(t, holds(), why)
	}
}

// length is how many events a topic has.
func length(t *testing.T, s *Stream, topic string) int {
	t.Helper()
	n, err := s.client.XLen(t.Context(), keysOf(topic).stream).Result()
	require.NoError(t, err)
	return int(n)
}

// bytesOf is how many bytes a topic is said to have.
func bytesOf(t *testing.T, s *Stream, topic string) int {
	t.Helper()
	r, err := s.trim(t.Context(), topic, 0)
	require.NoError(t, err)
	return int(r.bytes)
}

// fill publishes until the topic takes no more, and returns how many events it took and why it takes no more.
func fill(t *testing.T, s *Stream, topic string) (int, error) {
	t.Helper()
	for n := 0; ; n += 10 {
		if _, err := s.PublishBatch(t.Context(), large(topic, 10)); err != nil {
			return n, err
		}
		require.Less(t, n, 1000, "it is never full")
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	config := shared(t)
	config.MaxBytes = 2 * mib
	s, topic := open(t, config), t.Name()+newMember()
	fast := subscribe(t, s, stream.Options{Topic: topic, Group: "fast"})
	slow := subscribe(t, s, stream.Options{Topic: topic, Group: "slow"})
	n, err := fill(t, s, topic)
	full, ok := errors.AsType[*stream.PassingError](err)
	require.True(t, ok, "%v", err)
	require.False(t, kinds.Permanent(err))
	require.InDelta(t, 200, n, 10)
	ackAll := func(sub stream.Subscription, n int) {
		for n > 0 {
			batch, err := sub.Next(t.Context())
			require.NoError(t, err)
			require.NoError(t, sub.Ack(tagsOf(batch)...))
			n -= len(batch)
		}
	}
	ackAll(fast, n)
	require.Eventually(t, func() bool {
		_, err = s.PublishBatch(t.Context(), large(topic, 10))
		full, _ = errors.AsType[*stream.PassingError](err)
		return full != nil && full.Detail == "the topic "+topic+" is full: it takes events again when the group slow, "+
			"which is 200 events behind, has acknowledged some"
	}, 5*time.Second, 20*time.Millisecond, "%v", err)
	require.Equal(t, n, length(t, s, topic), "what a group has not acknowledged stays")

	ackAll(slow, n)
	require.Eventually(t, func() bool {
		_, err = s.PublishBatch(t.Context(), large(topic, 10))
		return err == nil
	}, 5*time.Second, 20*time.Millisecond)
	require.Less(t, length(t, s, topic), n*3/5, "it is made half empty")
	require.Greater(t, length(t, s, topic), n*2/5)
	require.InDelta(t, length(t, s, topic)*10<<10, bytesOf(t, s, topic), 0.05*2*mib)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	_, config := own(t) // whose other topics nobody misses
	config.Retention = time.Second
	s, topic := open(t, config), t.Name()+newMember()
	sub := subscribe(t, s, stream.Options{Topic: topic, Group: "g"})
	publish(t, s, topic, 0, 100)
	tags := receive(t, sub, 0, 100)
	require.NoError(t, sub.Ack(tags[:50]...))
	require.NoError(t, sub.Ack(tags[60:]...))
	sweptTo := func(n int) func() bool {
		return func() bool {
			require.NoError(t, s.Sweep(t.Context()))
			return length(t, s, topic) == n
		}
	}
	require.Eventually(t, sweptTo(50), 5*time.Second, 20*time.Millisecond)
	always(t, config.Retention/2, sweptTo(50), "what is not acknowledged stays, and what is behind it")
	require.NoError(t, sub.Ack(tags[50:60]...))
	publish(t, s, topic, 100, 5)
	require.Eventually(t, sweptTo(5), 5*time.Second, 20*time.Millisecond, "what is young stays")
	receive(t, sub, 100, 5)
}

// A topic that nobody consumes keeps events for as long as it is said.
func TestNobody(t *testing.T) {
	t.Parallel()
	_, config := own(t) // whose other topics nobody misses
	config.Retention = time.Second
	s, topic := open(t, config), t.Name()+newMember()
	publish(t, s, topic, 0, 10)
	require.NoError(t, s.Sweep(t.Context()))
	require.Equal(t, 10, length(t, s, topic))
	require.Eventually(t, func() bool {
		require.NoError(t, s.Sweep(t.Context()))
		return length(t, s, topic) == 0
	}, 5*time.Second, 50*time.Millisecond)
	require.Zero(t, bytesOf(t, s, topic))
	publish(t, s, topic, 10, 10)
	receive(t, subscribe(t, s, stream.Options{Topic: topic, Group: "g"}), 10, 10)
}

func TestDeserted(t *testing.T) {
	t.Parallel()
	_, config := own(t) // whose other topics nobody misses
	config.Retention = time.Second
	s, topic := open(t, config), t.Name()+newMember()
	gone, err := s.Subscribe(t.Context(), stream.Options{Topic: topic, Group: "gone"})
	require.NoError(t, err)
	subscribe(t, s, stream.Options{Topic: topic, Group: "there"})
	publish(t, s, topic, 0, 10)
	receive(t, gone, 0, 10)
	require.NoError(t, gone.Close())
	groups := func() int {
		require.NoError(t, s.Sweep(t.Context()))
		all, err := s.client.XInfoGroups(t.Context(), keysOf(topic).stream).Result()
		require.NoError(t, err)
		return len(all)
	}
	require.Equal(t, 2, groups())
	require.Eventually(t, func() bool { return groups() == 1 }, 10*time.Second, 100*time.Millisecond)
	always(t, 3*time.Second, func() bool { return groups() == 1 }, "somebody is there")
}

// A group whose only member was killed goes too, though it has a name that nobody knows.
func TestKilledLoner(t *testing.T) {
	t.Parallel()
	s, topic := open(t, shared(t)), t.Name()+newMember()
	sub := subscribe(t, s, stream.Options{Topic: topic})
	groups := func() int {
		require.NoError(t, s.Sweep(t.Context()))
		all, err := s.client.XInfoGroups(t.Context(), keysOf(topic).stream).Result()
		require.NoError(t, err)
		return len(all)
	}
	require.Equal(t, 1, groups())
	k, name := keysOf(topic), sub.(*subscription).group.name
	require.NoError(t, s.client.Del(t.Context(), k.alive(name)).Err()) // as if it had been killed, and others had noticed
	_, err := sub.Next(t.Context())
	require.Error(t, err)
	require.NoError(t, sub.Close())
	require.Zero(t, groups())
}

func TestGroupIsRemoved(t *testing.T) {
	t.Parallel()
	s, topic := open(t, shared(t)), t.Name()+newMember()
	sub := subscribe(t, s, stream.Options{Topic: topic, Group: "g"})
	publish(t, s, topic, 0, 1)
	receive(t, sub, 0, 1)
	require.NoError(t, s.client.XGroupDestroy(t.Context(), keysOf(topic).stream, "g").Err())
	_, err := sub.Next(t.Context())
	require.Error(t, err)
	require.False(t, kinds.Permanent(err))
	receive(t, subscribe(t, s, stream.Options{Topic: topic, Group: "g"}), 0, 1)
}
