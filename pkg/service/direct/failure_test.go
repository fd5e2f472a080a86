package direct_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

// load is callers that call one after the other.
type load struct {
	calls atomic.Int64

	mu     sync.Mutex
	failed []failedCall
	nodes  map[string]int // calls by the node that has answered, since it was last asked

	stop context.CancelFunc
	wg   sync.WaitGroup
}

type failedCall struct {
	caller int
	at     time.Time
	err    error
}

// callers start calling. The calls may not be repeated.
func callers(t *testing.T, n int, c *direct.Client, wait time.Duration) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, nodes: make(map[string]int)}
	pbc := pb.NewCounterService(serviceName, c)
	for i := range n {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				rsp, err := pbc.Add(context.WithoutCancel(ctx), &pb.AddRequest{Wait: durationpb.New(wait)})
				l.calls.Add(1)
				l.mu.Lock()
				if err != nil {
					l.failed = append(l.failed, failedCall{i, time.Now(), err})
				} else {
					l.nodes[rsp.Node]++
				}
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

// end stops calling and waits for the last answers.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// answering returns which nodes have answered since the last time.
func (l *load) answering() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	nodes := l.nodes
	l.nodes = make(map[string]int)
	return nodes
}

// eventually waits until just these nodes answer.
func (l *load) eventually(t *testing.T, nodes ...string) {
	t.Helper()
	l.answering()
	require.Eventually(t, func() bool {
		seen := l.answering()
		for _, n := range nodes {
			if seen[n] == 0 {
				return false
			}
		}
		return len(seen) == len(nodes)
	}, 30*time.Second, 200*time.Millisecond, "expected answers of %v", nodes)
}

func TestNodeIsKilled(t *testing.T) {
	t.Parallel()
	reg := startRegistry(t, "127.0.0.1:0")
	nodes := []*process{startNode(t, "a", reg), startNode(t, "b", reg), startNode(t, "c", reg)}
	l := callers(t, 16, clientOf(t, reg, direct.Config{}), 2*time.Millisecond)
	l.eventually(t, "a", "b", "c")

	killed := time.Now()
	nodes[1].kill(t)
	l.eventually(t, "a", "c")
	before := l.calls.Load()
	require.Eventually(t, func() bool {
		return time.Since(killed) > 3*time.Second && l.calls.Load() > before+1000
	}, 30*time.Second, 50*time.Millisecond)
	l.end()
	byCaller := make(map[int]int)
	for _, f := range l.failed {
		byCaller[f.caller]++
		assert.Less(t, f.at.Sub(killed), 2*time.Second, "%v", f.err)
		e := errors.FromError(f.err)
		assert.EqualValues(t, 503, e.Code)
		assert.Equal(t, direct.ErrorID, e.Id)
		assert.NotContains(t, e.Detail, "127.0.0.1")
	}
	for caller, n := range byCaller {
		assert.Equal(t, 1, n, "caller %d", caller)
	}
}

func TestNodeIsRestarted(t *testing.T) {
	t.Parallel()
	reg := startRegistry(t, "127.0.0.1:0")
	first, second := startNode(t, "a", reg), startNode(t, "b", reg)
	l := callers(t, 16, clientOf(t, reg, direct.Config{}), time.Millisecond)
	l.eventually(t, "a", "b")
	// Each of them, one after the other, as a rolling upgrade does.
	first.stop(t)
	l.eventually(t, "b")
	startNode(t, "c", reg)
	l.eventually(t, "b", "c")
	second.stop(t)
	l.eventually(t, "c")
	startNode(t, "d", reg)
	l.eventually(t, "c", "d")
	l.end()
	assert.Empty(t, l.failed, "of %d calls", l.calls.Load())
}

func TestOnlyNodeIsReplaced(t *testing.T) {
	t.Parallel()
	reg := startRegistry(t, "127.0.0.1:0")
	only := startNode(t, "a", reg)
	// Starting a process can take long while other tests run.
	l := callers(t, 16, clientOf(t, reg, direct.Config{Patience: 20 * time.Second}), time.Millisecond)
	l.eventually(t, "a")
	only.stop(t)
	startNode(t, "b", reg)
	l.eventually(t, "b")
	l.end()
	assert.Empty(t, l.failed, "of %d calls", l.calls.Load())
}

func TestRegistryIsAway(t *testing.T) {
	t.Parallel()
	reg := startRegistry(t, "127.0.0.1:0")
	startNode(t, "a", reg)
	startNode(t, "b", reg)
	// As if it were away for ten times as long.
	c := clientOf(t, reg, direct.Config{Poll: 500 * time.Millisecond, Settle: 3 * time.Second, Forget: 3 * time.Second})
	l := callers(t, 8, c, 2*time.Millisecond)
	l.eventually(t, "a", "b")

	killed := time.Now()
	reg.kill(t)
	require.Eventually(t, func() bool { return time.Since(killed) > 5*time.Second }, 10*time.Second, 50*time.Millisecond)
	l.eventually(t, "a", "b")
	// It comes back empty, and hears of the nodes again.
	reg = startRegistry(t, reg.address)
	startNode(t, "c", reg)
	l.eventually(t, "a", "b", "c")
	l.end()
	assert.Empty(t, l.failed, "of %d calls", l.calls.Load())
}

// A node that leaves and comes back takes no call with it, however many are under way.
func TestCallsSurviveTheListing(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	n := nodeOf(t, reg, &counter{node: "a", began: make(chan time.Time, 1000)})
	other := nodeOf(t, memregistry.NewRegistry(), &counter{node: "b"})
	c := clientWith(t, direct.Config{Registry: reg, Forget: 50 * time.Millisecond, Poll: 20 * time.Millisecond})
	pbc := pb.NewCounterService(serviceName, c)

	const slow = 1000
	errs := make(chan error, slow)
	for range slow {
		go func() {
			rsp, err := pbc.Add(t.Context(), &pb.AddRequest{Wait: durationpb.New(3 * time.Second)})
			if err == nil && rsp.Node != "a" {
				err = errors.InternalServerError("test", "answered by %s", rsp.Node)
			}
			errs <- err
		}()
	}
	for range slow {
		<-n.began
	}
	answers := func(node string) {
		require.Eventually(t, func() bool {
			rsp, err := pbc.Read(t.Context(), &pb.ReadRequest{})
			return err == nil && rsp.Node == node
		}, 10*time.Second, 5*time.Millisecond)
	}
	// Made anew each time: the registry keeps it.
	listed := func() *registry.Service { return entry(serviceName+"-a", n.Options().Address) }
	for i := range 3 {
		id := strconv.Itoa(i)
		require.NoError(t, reg.Register(entry("other"+id, other.Options().Address)))
		require.NoError(t, reg.Deregister(listed()))
		answers("b")
		require.NoError(t, reg.Register(listed()))
		require.NoError(t, reg.Deregister(entry("other"+id, other.Options().Address)))
		answers("a")
	}
	for range slow {
		require.NoError(t, <-errs)
	}
}
