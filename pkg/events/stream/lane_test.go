package stream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// watched is a handler of which is seen how it is called.
type watched struct {
	*stream.Handler
	calls, opened, open atomic.Int32
	old                 atomic.Bool // whether it knows nothing of streams to publish over
}

func (w *watched) Publish(ctx context.Context, req *pb.PublishRequest, rsp *pb.PublishResponse) error {
	w.calls.Add(1)
	return w.Handler.Publish(ctx, req, rsp)
}

func (w *watched) PublishEach(ctx context.Context, rpc pb.Batch_PublishEachStream) error {
	w.opened.Add(1)
	if w.old.Load() {
		return merrors.NotFound("events", "there is no such endpoint")
	}
	w.open.Add(1)
	defer w.open.Add(-1)
	return w.Handler.PublishEach(ctx, rpc)
}

// watch serves a stream so that is seen how.
func watch(t *testing.T, s stream.Stream) (*watched, served) {
	t.Helper()
	w := &watched{Handler: stream.NewHandler(s)}
	c := servicetest.Serve(t, "events", func(s server.Server) error { return pb.RegisterBatchHandler(s, w) })
	t.Cleanup(w.End)
	return w, served{handler: w.Handler, address: c.Address}
}

// onLane publishes until a lane is there to publish over, and returns how often it has.
func onLane(t *testing.T, w *watched, c *stream.Client) int {
	t.Helper()
	n, before := 0, w.opened.Load()
	eventually(t, func() bool {
		assert.NoError(t, c.Publish("topic", fmt.Append(nil, n)))
		n++
		return w.opened.Load() > before && w.open.Load() > 0
	})
	return n
}

// eventually is for what is the case soon.
func eventually(t *testing.T, f func() bool, message ...any) {
	t.Helper()
	require.Eventually(t, f, 30*time.Second, time.Millisecond, message...)
}

// published are the payloads of a topic, in its order, without what is there twice under one id.
func published(t *testing.T, s stream.Stream, topic string) []string {
	t.Helper()
	all, err := s.Read(topic, events.ReadLimit(stream.MaxBatch))
	require.NoError(t, err)
	var payloads []string
	ids := make(map[string]bool)
	for _, e := range all {
		if !ids[e.ID] {
			ids[e.ID] = true
			payloads = append(payloads, string(e.Payload))
		}
	}
	return payloads
}

// numbers are those below n, as they are published.
func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return list
}

// Who publishes often needs one stream for it and no calls; who does it once needs no stream.
func TestLane(t *testing.T) {
	t.Parallel()
	engine := open(t)
	w, s := watch(t, engine)
	c := s.client(t)
	require.NoError(t, c.Publish("another", nil))
	require.Zero(t, w.opened.Load())
	n := onLane(t, w, c)
	calls := w.calls.Load()
	for range 100 {
		require.NoError(t, c.Publish("topic", fmt.Append(nil, n)))
		n++
	}
	require.Equal(t, calls, w.calls.Load())
	require.EqualValues(t, 1, w.opened.Load())
	require.Equal(t, numbers(n), published(t, engine, "topic"))
}

// An error of one batch is the error of a call, has nothing published again, and is none of the batches after.
func TestErrorsOverLane(t *testing.T) {
	t.Parallel()
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counter := &counting{Stream: open(t)}
			w, s := watch(t, counter)
			c := s.client(t)
			onLane(t, w, c)
			before, calls := counter.count(), w.calls.Load()
			counter.refuse(test.err)
			err := c.Publish("topic", []byte("x"))
			require.True(t, test.check(err), "%v", err)
			require.Equal(t, test.permanent, kinds.Permanent(err))
			require.Equal(t, before+1, counter.count())
			require.Equal(t, calls, w.calls.Load())
			eventually(t, func() bool { return w.open.Load() == 0 })
			counter.refuse(nil)
			onLane(t, w, c)
		})
	}
}

// wire is a way to a service that can be cut, as it is when the service is killed.
type wire struct {
	net.Listener
	to    string
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func wireTo(t *testing.T, address string) *wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: l, to: address}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.pass(in) })
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		w.cut(true)
		running.Wait()
	})
	return w
}

// pass passes on what comes over a connection.
func (w *wire) pass(in net.Conn) {
	defer in.Close() //nolint:errcheck // it has ended
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to)
	if err != nil {
		return
	}
	defer out.Close() //nolint:errcheck // it has ended
	w.mu.Lock()
	dead := w.dead
	w.conns = append(w.conns, in, out)
	w.mu.Unlock()
	if dead {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out) // until it is cut
		_ = in.Close()
	})
	_, _ = io.Copy(out, in) // until it is cut
	_ = out.Close()
	back.Wait()
}

// cut ends all connections, and those that are made as long as it is dead.
func (w *wire) cut(dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = dead
	for _, c := range w.conns {
		_ = c.Close() // it may have ended
	}
	w.conns = nil
}

// A batch whose service is killed before it has answered is published again under the same ids, and so is one that finds its
// lane broken.
func TestLaneBreaks(t *testing.T) {
	t.Parallel()
	held := &counting{Stream: open(t)}
	w, s := watch(t, held)
	way := wireTo(t, s.address)
	c := served{address: way.Addr().String()}.client(t)
	n := onLane(t, w, c)

	way.cut(false)
	require.NoError(t, c.Publish("topic", fmt.Append(nil, n)), "the lane is broken")
	n++
	n = again(t, w, c, n)

	hold := held.wait()
	before := held.count()
	result := make(chan error, 1)
	go func() { result <- c.Publish("topic", fmt.Append(nil, n)) }()
	eventually(t, func() bool { return held.count() == before+1 })
	way.cut(false)
	eventually(t, func() bool { return held.count() == before+2 }, "it is published again")
	close(hold)
	require.NoError(t, <-result)
	n++
	require.Equal(t, numbers(n), published(t, held, "topic"))

	way.cut(true)
	require.Error(t, c.Publish("topic", []byte("nobody hears it")))
	way.cut(false)
	eventually(t, func() bool { return c.Publish("topic", []byte("again")) == nil })
}

// again publishes more until that goes over a lane once more, and returns which number is next.
func again(t *testing.T, w *watched, c *stream.Client, n int) int {
	t.Helper()
	before := w.opened.Load()
	eventually(t, func() bool {
		assert.NoError(t, c.Publish("topic", fmt.Append(nil, n)))
		n++
		return w.opened.Load() > before
	})
	return n
}

// A lane is not used for longer than it may be, whether it is in use or not, and nothing gets lost or out of order by that,
// whichever side ends it.
func TestLaneAge(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*stream.Client, *watched){
		"client": func(c *stream.Client, _ *watched) { stream.SetLaneAge(c, 20*time.Millisecond) },
		"server": func(_ *stream.Client, w *watched) { stream.SetServedFor(w.Handler, 20*time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counter := &counting{Stream: open(t)}
			w, s := watch(t, counter)
			c := s.client(t)
			limit(c, w)
			n := 0
			for range 2 { // while it is in use
				n = again(t, w, c, n)
			}
			eventually(t, func() bool { return w.open.Load() == 0 }, "while it is not")
			require.NoError(t, c.Publish("topic", fmt.Append(nil, n)))
			n++
			require.Equal(t, n, counter.count(), "none is published twice")
			require.Equal(t, numbers(n), published(t, counter, "topic"))
		})
	}
}

// A service that stops answers what it has begun, and waits for nothing else.
func TestEndOfLane(t *testing.T) {
	t.Parallel()
	held := &counting{Stream: open(t)}
	w, s := watch(t, held)
	c := s.client(t)
	onLane(t, w, c)
	hold := held.wait()
	before, calls := held.count(), w.calls.Load()
	result := make(chan error, 1)
	go func() { result <- c.Publish("topic", []byte("last")) }()
	eventually(t, func() bool { return held.count() == before+1 })
	w.End()
	require.EqualValues(t, 1, w.open.Load())
	close(hold)
	require.NoError(t, <-result)
	require.Equal(t, before+1, held.count(), "it was answered")
	require.Equal(t, calls, w.calls.Load())
	eventually(t, func() bool { return w.open.Load() == 0 })
	require.NoError(t, c.Publish("topic", []byte("by a call")))
}

// A service that hangs is not waited for longer than for a call.
func TestLaneHangs(t *testing.T) {
	t.Parallel()
	held := &counting{Stream: open(t)}
	w, s := watch(t, held)
	c := s.client(t)
	onLane(t, w, c)
	stream.SetAnswerWithin(c, 200*time.Millisecond)
	hold := held.wait()
	defer close(hold)
	calls := w.calls.Load()
	err := c.Publish("topic", []byte("x"))
	require.EqualValues(t, 408, merrors.FromError(err).Code, "%v", err)
	require.Equal(t, calls, w.calls.Load(), "it is not published again")
}

// The service may be of a version that has no such streams.
func TestNoLanes(t *testing.T) {
	t.Parallel()
	engine := open(t)
	w, s := watch(t, engine)
	w.old.Store(true)
	c := s.client(t)
	n := 0
	for w.opened.Load() == 0 || n < 20 {
		require.NoError(t, c.Publish("topic", fmt.Append(nil, n)))
		n++
	}
	require.Equal(t, numbers(n), published(t, engine, "topic"))
}

// Who publishes to many topics at once gets some lanes, and what there is none for is published as well.
func TestManyOnLanes(t *testing.T) {
	t.Parallel()
	engine := open(t)
	w, s := watch(t, engine)
	c := s.client(t)
	stream.SetLaneAge(c, 30*time.Millisecond)
	const topics, each = 12, 100
	var running sync.WaitGroup
	for i := range topics {
		running.Go(func() {
			for n := range each {
				assert.NoError(t, c.Publish(fmt.Sprint("topic ", i), fmt.Append(nil, n)))
				assert.LessOrEqual(t, w.open.Load(), int32(8)) // the service has not seen the end of all
			}
		})
	}
	running.Wait()
	for i := range topics {
		require.Equal(t, numbers(each), published(t, engine, fmt.Sprint("topic ", i)))
	}
	require.NotZero(t, w.opened.Load())
}

// A client that is closed has no lane left, and can still publish.
func TestCloseWithLane(t *testing.T) {
	t.Parallel()
	w, s := watch(t, open(t))
	c := s.client(t)
	onLane(t, w, c)
	require.NoError(t, c.Close())
	eventually(t, func() bool { return w.open.Load() == 0 })
	opened := w.opened.Load()
	for range 3 {
		require.NoError(t, c.Publish("topic", []byte("x")))
	}
	require.Equal(t, opened, w.opened.Load())
}

// What comes over a lane is looked at as strictly as what comes with a call.
func TestLaneMessages(t *testing.T) {
	t.Parallel()
	_, s := watch(t, open(t))
	rpc, err := pb.NewBatchService("events", s.caller(t)).PublishEach(t.Context(), client.WithAuthToken())
	require.NoError(t, err)
	require.NoError(t, rpc.Send(&pb.PublishRequest{Events: []*pb.Event{{Topic: "x"}}}))
	rsp, err := rpc.Recv()
	require.NoError(t, err)
	require.NotEmpty(t, rsp.Epoch)
	require.NoError(t, rpc.Send(&pb.PublishRequest{Events: []*pb.Event{{Topic: "x"}, {Topic: ""}}}))
	_, err = rpc.Recv()
	servicetest.RequireError(t, err, 400, "events.Batch.PublishEach", `events\[1\].topic: expected one`)
}
