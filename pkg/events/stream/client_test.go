package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/events"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/events/stream/streamtest"
	"github.com/m3o/backend/pkg/platform/jetstream"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreCurrent(),
		// Of Micro's registry and router, which cannot be closed.
		goleak.IgnoreTopFunction("github.com/micro/micro/v3/service/registry/memory.(*Registry).ttlPrune"),
		goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/router/registry.(*table).Watch.func1"),
	)
}

// served is an events service.
type served struct {
	handler *stream.Handler
	address string
}

// serve serves a stream as the events service does.
func serve(t *testing.T, s stream.Stream) served {
	t.Helper()
	h := stream.NewHandler(s)
	c := servicetest.Serve(t, "events", func(s server.Server) error { return pb.RegisterBatchHandler(s, h) })
	t.Cleanup(h.End)
	return served{handler: h, address: c.Address}
}

// client returns a client of the service, as a service has it.
func (s served) client(t *testing.T) *stream.Client {
	t.Helper()
	c := stream.NewClient(s.caller(t))
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// caller returns what that client calls the service with.
func (s served) caller(t *testing.T) *direct.Client {
	t.Helper()
	c := direct.New(direct.Config{
		Registry: registry.NewRegistry(), Fixed: map[string]string{"events": s.address}, Patience: time.Second,
		Credentials: func() (string, string) { return "micro", servicetest.Token(servicetest.Service("usage")) },
	})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func open(t *testing.T) *jetstream.Engine {
	t.Helper()
	engine, err := jetstream.Open(jetstream.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	return engine
}

func TestConformance(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, serve(t, open(t)).client(t))
}

// counting counts the batches that are published.
type counting struct {
	stream.Stream
	mu      sync.Mutex
	batches int
	hold    chan struct{} // what a batch waits for
	err     error
}

func (c *counting) PublishBatch(ctx context.Context, batch []*events.Event) (string, error) {
	c.mu.Lock()
	c.batches++
	err, hold := c.err, c.hold
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return "", err
	}
	return c.Stream.PublishBatch(ctx, batch)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.batches
}

// refuse has batches refused with an error, or not any more.
func (c *counting) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// wait has batches wait until what it returns is closed.
func (c *counting) wait() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
	return c.hold
}

func TestPublishersShareCalls(t *testing.T) {
	t.Parallel()
	s := &counting{Stream: open(t), hold: make(chan struct{})}
	c := serve(t, s).client(t)
	var callers sync.WaitGroup
	callers.Go(func() { assert.NoError(t, c.Publish("topic", []byte("first"))) })
	require.Eventually(t, func() bool { return s.count() == 1 }, 5*time.Second, time.Millisecond)
	const n = 50
	var began sync.WaitGroup
	began.Add(n)
	for i := range n {
		callers.Go(func() {
			began.Done()
			assert.NoError(t, c.Publish("topic", fmt.Append(nil, i)))
		})
	}
	began.Wait()
	callers.Go(func() { assert.NoError(t, c.Publish("another", []byte("x"))) })
	require.Eventually(t, func() bool { return s.count() == 2 }, 5*time.Second, time.Millisecond, "another topic does not wait")
	close(s.hold)
	callers.Wait()
	require.Less(t, s.count(), 10)
	all, err := c.Read("topic")
	require.NoError(t, err)
	require.Len(t, all, n+1)
	require.Equal(t, "first", string(all[0].Payload))
}

// refusal is an error of a stream and how its client has it.
type refusal struct {
	err       error
	check     func(error) bool
	permanent bool
}

var refusals = map[string]refusal{
	"invalid": {
		kinds.Invalid("events[0].topic", "must be another"),
		func(err error) bool {
			e, ok := errors.AsType[*kinds.Error](err)
			return ok && e.Field == "events[0].topic" && e.Detail == "must be another"
		}, true,
	},
	"too many": {kinds.TooMany("topic: there are many"), func(err error) bool { return kinds.KindOf(err) == kinds.KindTooMany }, false},
	"passing": {
		&stream.PassingError{Detail: "the topic x is full"},
		func(err error) bool {
			_, ok := errors.AsType[*stream.PassingError](err)
			return ok && err.Error() == "the topic x is full"
		}, false,
	},
	"other":  {errors.New("the inside"), func(err error) bool { return kinds.KindOf(err) == kinds.KindInternal }, false},
	"closed": {stream.ErrClosed, func(err error) bool { return kinds.KindOf(err) == kinds.KindInternal }, false},
}

func TestErrorsOfTheService(t *testing.T) {
	t.Parallel()
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, &counting{Stream: open(t), err: test.err}).client(t)
			err := c.Publish("topic", []byte("x"))
			require.True(t, test.check(err), "%v", err)
			require.Equal(t, test.permanent, kinds.Permanent(err))
		})
	}
}

// breaking is a stream whose subscriptions can be ended.
type breaking struct {
	stream.Stream
	mu   sync.Mutex
	ends []context.CancelFunc
}

func (b *breaking) Subscribe(ctx context.Context, options stream.Options) (stream.Subscription, error) {
	ctx, cancel := context.WithCancel(ctx)
	b.mu.Lock()
	b.ends = append(b.ends, cancel)
	b.mu.Unlock()
	return b.Stream.Subscribe(ctx, options)
}

func (b *breaking) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.ends {
		f()
	}
}

// Consumers of a group go on when their subscription breaks, those without one are told.
func TestConsumersSubscribeAgain(t *testing.T) {
	t.Parallel()
	s := &breaking{Stream: open(t)}
	t.Cleanup(s.end)
	c := serve(t, s).client(t)
	grouped, err := c.Consume("topic", events.WithGroup("g"), events.WithContext(t.Context()), events.WithAutoAck(false, time.Hour))
	require.NoError(t, err)
	alone, err := c.Consume("topic", events.WithContext(t.Context()))
	require.NoError(t, err)
	require.NoError(t, c.Publish("topic", []byte("1")))
	one := <-grouped
	require.Equal(t, "1", string((<-alone).Payload))
	s.end()
	_, ok := <-alone
	require.False(t, ok)
	require.Eventually(t, func() bool { return one.Ack() != nil }, 5*time.Second, time.Millisecond, "its subscription has ended")
	again := <-grouped
	require.Equal(t, one.ID, again.ID, "it was not acknowledged")
	require.NoError(t, again.Ack())
	require.NoError(t, c.Publish("topic", []byte("2")))
	require.Equal(t, "2", string((<-grouped).Payload))
}

// A service that stops does not wait for subscriptions.
func TestEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, open(t))
	sub, err := s.client(t).Subscribe(t.Context(), stream.Options{Topic: "topic", Group: "g"})
	require.NoError(t, err)
	s.handler.End()
	_, err = sub.Next(t.Context())
	require.ErrorContains(t, err, "the events service is stopping")
	require.False(t, kinds.Permanent(err))
}

func TestClose(t *testing.T) {
	t.Parallel()
	c := serve(t, open(t)).client(t)
	ch, err := c.Consume("topic", events.WithGroup("g"))
	require.NoError(t, err)
	sub, err := c.Subscribe(t.Context(), stream.Options{Topic: "topic", Group: "g"})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, ok := <-ch
	require.False(t, ok)
	_, err = sub.Next(t.Context())
	require.ErrorIs(t, err, stream.ErrClosed)
	require.ErrorIs(t, sub.Ack(1), stream.ErrClosed)
	_, err = c.Subscribe(t.Context(), stream.Options{Topic: "topic", Group: "g"})
	require.ErrorIs(t, err, stream.ErrClosed)
	_, err = c.Consume("topic")
	require.ErrorIs(t, err, stream.ErrClosed)
}

// What the events service makes of messages that no client of ours sends.
func TestSubscribeMessages(t *testing.T) {
	t.Parallel()
	caller := serve(t, open(t)).caller(t)
	for name, test := range map[string]struct {
		messages []*pb.SubscribeRequest
		detail   string
	}{
		"not opened": {[]*pb.SubscribeRequest{{Ack: []uint64{1}}}, "open: expected in the first message"},
		"wrong":      {[]*pb.SubscribeRequest{{Open: &pb.Open{Group: "g"}}}, "topic: expected one"},
		"twice":      {[]*pb.SubscribeRequest{{Open: &pb.Open{Topic: "x"}}, {Open: &pb.Open{Topic: "x"}}}, "open: expected in the first message only"},
		"delay":      {[]*pb.SubscribeRequest{{Open: &pb.Open{Topic: "x"}}, {Nack: []*pb.Nack{{Delay: -1}}}}, "delay: must be from 0 to "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rpc, err := pb.NewBatchService("events", caller).Subscribe(t.Context(), client.WithAuthToken())
			require.NoError(t, err)
			for _, m := range test.messages {
				require.NoError(t, rpc.Send(m))
			}
			for err == nil {
				_, err = rpc.Recv()
			}
			servicetest.RequireError(t, err, 400, "events.Batch.Subscribe", test.detail)
		})
	}
}

// Whoever takes nothing does not keep events from the other members of its group.
func TestStuckConsumer(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	c := serve(t, open(t)).client(t)
	stuck, err := c.Consume("topic", events.WithGroup("g"), events.WithAutoAck(false, wait))
	require.NoError(t, err)
	for i := range 10 {
		require.NoError(t, c.Publish("topic", fmt.Append(nil, i)))
	}
	<-stuck // it has received them
	other, err := c.Consume("topic", events.WithGroup("g"), events.WithAutoAck(false, wait))
	require.NoError(t, err)
	seen := make(map[string]bool)
	for len(seen) < 10 {
		e := <-other
		seen[string(e.Payload)] = true
		require.NoError(t, e.Ack())
	}
}

// Whoever is slow, but within AckWait for each event, gets each once.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	const wait = 400 * time.Millisecond
	c := serve(t, open(t)).client(t)
	slow, err := c.Consume("topic", events.WithGroup("g"), events.WithAutoAck(false, wait), events.WithRetryLimit(0))
	require.NoError(t, err)
	const n = 20
	for i := range n {
		require.NoError(t, c.Publish("topic", fmt.Append(nil, i)))
	}
	work := time.NewTicker(wait / 8)
	defer work.Stop()
	for i := range n { // altogether it takes more than twice as long as AckWait
		e := <-slow
		require.Equal(t, fmt.Sprint(i), string(e.Payload))
		<-work.C
		require.NoError(t, e.Ack())
	}
}
