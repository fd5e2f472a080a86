//go:build platform

package redis

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/events/stream/streamtest"
	"github.com/m3o/backend/pkg/platform/engine"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(childEnv); address != "" {
		fmt.Fprintln(os.Stderr, child(address))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // the package that starts servers has one for as long as the process lives
}

// shared is the configuration for the server that all tests have together.
func shared(t testing.TB) Config {
	t.Helper()
	address := os.Getenv(engine.RedisEnv)
	require.NotEmpty(t, address, "%s: run the tests with bin/withengines", engine.RedisEnv)
	return configOf(t, address)
}

func configOf(t testing.TB, address string) Config {
	t.Helper()
	config, err := ParseConfig(address)
	require.NoError(t, err)
	return config
}

// own starts a server for one test.
func own(t testing.TB, args ...string) (*engine.Server, Config) {
	t.Helper()
	server, err := engine.Redis(t.Context(), engine.Config{Dir: t.TempDir(), Args: args})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	return server, configOf(t, server.Address())
}

// open opens a stream until the test ends.
func open(t testing.TB, config Config) *Stream {
	t.Helper()
	s, err := OpenStream(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// numbered are events whose payloads are the numbers from the first on.
func numbered(topic string, first, n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = &events.Event{Topic: topic, Payload: fmt.Append(nil, first+i)}
	}
	return batch
}

func publish(t testing.TB, s *Stream, topic string, first, n int) {
	t.Helper()
	_, err := s.PublishBatch(t.Context(), numbered(topic, first, n))
	require.NoError(t, err)
}

func subscribe(t testing.TB, s *Stream, options stream.Options) stream.Subscription {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return sub
}

// receive receives n events whose payloads are the numbers from the first on.
func receive(t testing.TB, sub stream.Subscription, first, n int) []uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var tags []uint64
	for len(tags) < n {
		batch, err := sub.Next(ctx)
		require.NoError(t, err, "after %d events", len(tags))
		for _, d := range batch {
			require.Equal(t, strconv.Itoa(first+len(tags)), string(d.Payload))
			tags = append(tags, d.Tag)
		}
	}
	return tags
}

func tagsOf(batch []stream.Delivery) []uint64 {
	tags := make([]uint64, len(batch))
	for i, d := range batch {
		tags[i] = d.Tag
	}
	return tags
}

func TestConformance(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, open(t, shared(t)))
}

// consumeFrom are the options of a consumer of the group g that gets all that there is.
func consumeFrom(ctx context.Context) []events.ConsumeOption {
	return []events.ConsumeOption{
		events.WithContext(ctx), events.WithGroup("g"), events.WithOffset(time.Unix(1, 0)), events.WithAutoAck(false, time.Minute),
	}
}
