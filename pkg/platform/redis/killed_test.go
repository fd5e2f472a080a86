//go:build platform

package redis

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream"
)

// childEnv makes the test binary a process that consumes a topic until it is killed, of the Redis at this address; topicEnv
// names the topic.
const (
	childEnv = "REDIS_TEST_CHILD"
	topicEnv = "REDIS_TEST_TOPIC"
)

// child is the main function of that process: it takes events, acknowledges the first half of each batch, and says so.
func child(address string) error {
	config, err := ParseConfig(address)
	if err != nil {
		return err
	}
	s, err := OpenStream(config)
	if err != nil {
		return err
	}
	ctx := context.Background()
	sub, err := s.Subscribe(ctx, stream.Options{Topic: os.Getenv(topicEnv), Group: "g", AckWait: time.Hour, MaxInFlight: 100})
	if err != nil {
		return err
	}
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		half := batch[:len(batch)/2]
		for _, d := range half {
			fmt.Println(string(d.Payload))
		}
		if err := sub.Ack(tagsOf(half)...); err != nil {
			return err
		}
	}
}

// What a process had that was killed, others get: within seconds, whatever its AckWait.
func TestKilledMember(t *testing.T) {
	t.Parallel()
	const n = 500
	server, config := own(t)
	s, topic := open(t, config), "topic"
	publish(t, s, topic, 0, n)
	done := make(map[int]bool)
	for range 2 {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), childEnv+"="+server.Address(), topicEnv+"="+topic)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		lines := bufio.NewScanner(out)
		for range 50 {
			require.True(t, lines.Scan(), "it does not consume")
			i, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			done[i] = true
		}
		require.NoError(t, c.Process.Kill())
		for lines.Scan() { // what it said before it was killed
			i, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			done[i] = true
		}
		_ = c.Wait() // killed
	}
	killed := time.Now()
	sub := subscribe(t, s, stream.Options{Topic: topic, Group: "g", AckWait: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(done) < n {
		batch, err := sub.Next(ctx)
		require.NoError(t, err, "%d of %d", len(done), n)
		for _, d := range batch {
			i, err := strconv.Atoi(string(d.Payload))
			require.NoError(t, err)
			done[i] = true
		}
		require.NoError(t, sub.Ack(tagsOf(batch)...))
	}
	require.Less(t, time.Since(killed), deadAfter+3*beat)
}

// When Redis is killed under load, what was not lost arrives, and what may have been lost can be published again, because the
// epoch says so.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	server, config := own(t)
	s, topic := open(t, config), "topic"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	seen := make(map[int]bool)
	var consuming sync.WaitGroup
	stop, end := context.WithCancel(ctx)
	defer end()
	ch, err := s.Consume(topic, consumeFrom(stop)...)
	require.NoError(t, err)
	consuming.Go(func() {
		for e := range ch {
			i, err := strconv.Atoi(string(e.Payload))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			seen[i] = true
			mu.Unlock()
			if e.Ack() != nil {
				continue // it is delivered again
			}
		}
	})

	// As the relay of an outbox does it: what was acknowledged in the last two seconds is published again in a new epoch.
	const each = 20
	next, epoch, kills := 0, "", 0
	unsettled := make(map[int]time.Time)
	publishAll := func(from, n int) bool {
		now, err := s.PublishBatch(ctx, numbered(topic, from, n))
		if err != nil {
			require.NoError(t, ctx.Err())
			return false
		}
		if epoch != "" && now != epoch {
			for first, at := range unsettled {
				if time.Since(at) < 2*time.Second {
					if _, err := s.PublishBatch(ctx, numbered(topic, first, each)); err != nil {
						return false
					}
				}
			}
			kills++
		}
		epoch = now
		unsettled[from] = time.Now()
		return true
	}
	for round := range 3 {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			<-time.After(300 * time.Millisecond) // while it is busy
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
			if err := server.Start(ctx); err != nil {
				t.Error(err)
			}
		}()
		for after := 0; after < 10; { // publications once it is back
			back := isClosed(killed)
			if publishAll(next, each) {
				next += each
				if back {
					after++
				}
			}
		}
		require.Equal(t, round+1, kills, "the epoch changes each time")
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == next
	}, 30*time.Second, 50*time.Millisecond)
	end()
	consuming.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
