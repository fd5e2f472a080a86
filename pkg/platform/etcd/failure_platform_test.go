//go:build platform

package etcd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/m3o/backend/pkg/platform/engine"
)

// start starts a server of a test's own until it ends.
func start(t testing.TB, args ...string) (*engine.Server, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := engine.Etcd(t.Context(), engine.Config{Dir: dir, Args: args})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s, dir
}

// nodeOf is a service with one node.
func nodeOf(name string, i int) *registry.Service {
	return &registry.Service{
		Name: name, Version: "1", Metadata: map[string]string{"team": "a"},
		Nodes:     []*registry.Node{{Id: fmt.Sprintf("%s-%d", name, i), Address: fmt.Sprintf("10.0.0.1:%d", i)}},
		Endpoints: []*registry.Endpoint{{Name: "A.B"}},
	}
}

// population are services that register as Micro's server does, every half second.
const population = 30

// populate registers nodes until the test ends, or until it is cancelled.
func populate(t testing.TB, r *Registry, ttl time.Duration) context.CancelFunc {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range population {
		s := nodeOf("alive", i)
		require.NoError(t, r.Register(s, registry.RegisterTTL(ttl)))
		running.Go(func() {
			for pause(ctx, 500*time.Millisecond) {
				_ = r.Register(s, registry.RegisterTTL(ttl)) // it fails while etcd is away
			}
		})
	}
	stop := func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func count(r *Registry, name string) int {
	found, err := r.GetService(name)
	if err != nil {
		return 0
	}
	return len(found[0].Nodes)
}

// steady fails the test when a node is missed by a registry before it returns.
func steady(t testing.TB, r *Registry, during func()) {
	t.Helper()
	w, err := r.Watch(registry.WatchService("alive"))
	require.NoError(t, err)
	told := make(chan string, 1)
	go func() {
		for {
			result, err := w.Next()
			if err != nil {
				close(told)
				return
			}
			if result.Action == "delete" {
				told <- result.Service.Nodes[0].Id
				return
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		during()
	}()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for running := true; running; {
		select {
		case <-ticks.C:
			require.Equal(t, population, count(r, "alive"))
		case <-done:
			running = false
		}
	}
	w.Stop()
	id, ok := <-told
	require.False(t, ok, "node %s was told to be gone", id)
}

// again waits until etcd itself has all nodes again, as one sees who has just come.
func again(t testing.TB, s *engine.Server, within time.Duration) {
	t.Helper()
	begin := time.Now()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, population, count(open(t, s.Address(), ""), "alive"))
	}, within, 50*time.Millisecond)
	t.Logf("all nodes were registered again after %s", time.Since(begin).Round(10*time.Millisecond))
}

func TestKilled(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	populate(t, open(t, s.Address(), ""), 10*time.Second)
	viewer := open(t, s.Address(), "")
	steady(t, viewer, func() {
		for range 2 {
			require.NoError(t, s.Kill())
			time.Sleep(time.Second) //nolint:forbidigo // it is away
			require.NoError(t, s.Start(t.Context()))
			again(t, s, 3*time.Second)
		}
	})
	stays(t, viewer, s)
}

// stays makes sure that a registry sees new nodes, and that old ones go.
func stays(t testing.TB, viewer *Registry, s *engine.Server) {
	t.Helper()
	other := open(t, s.Address(), "")
	require.NoError(t, other.Register(nodeOf("new", 1)))
	require.Eventually(t, func() bool { return count(viewer, "new") == 1 }, time.Second, 5*time.Millisecond)
	require.NoError(t, other.Deregister(nodeOf("new", 1)))
	require.Eventually(t, func() bool { return count(viewer, "new") == 0 }, suspicion, 5*time.Millisecond)
}

func TestDataLost(t *testing.T) {
	t.Parallel()
	s, dir := start(t)
	populate(t, open(t, s.Address(), ""), 10*time.Second)
	viewer := open(t, s.Address(), "")
	gone := open(t, s.Address(), "")
	require.NoError(t, gone.Register(nodeOf("gone", 1), registry.RegisterTTL(time.Minute)))
	require.Eventually(t, func() bool { return count(viewer, "gone") == 1 }, time.Second, 5*time.Millisecond)
	steady(t, viewer, func() {
		require.NoError(t, s.Kill())
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "data")))
		require.NoError(t, s.Start(t.Context()))
		again(t, s, 5*time.Second)
		require.Eventually(t, func() bool { return count(viewer, "gone") == 0 }, 2*linger, 5*time.Millisecond)
	})
	stays(t, viewer, s)
}

// The leases of all run out while etcd is frozen; it revokes them as soon as it goes on.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	const ttl = 3 * time.Second
	populate(t, open(t, s.Address(), ""), ttl)
	viewer := open(t, s.Address(), "")
	steady(t, viewer, func() {
		require.NoError(t, s.Signal(syscall.SIGSTOP))
		time.Sleep(2*silence - time.Second) //nolint:forbidigo // it is away
		require.NoError(t, s.Signal(syscall.SIGCONT))
		again(t, s, 5*time.Second)
		time.Sleep(linger) //nolint:forbidigo // nothing happens later on either
	})
	stays(t, viewer, s)
}

func TestAway(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	r := open(t, s.Address(), "")
	require.NoError(t, r.Register(nodeOf("a", 1), registry.RegisterTTL(10*time.Second)))
	require.NoError(t, r.Check(t.Context()))
	require.NoError(t, s.Kill())
	begin := time.Now()
	require.EqualError(t, r.Check(t.Context()), "MICRO_ETCD_ADDRESS: etcd does not answer at "+s.Host()+": connection refused")
	require.EqualError(t, r.Register(nodeOf("b", 1)), "MICRO_ETCD_ADDRESS: etcd does not answer at "+s.Host())
	require.Error(t, r.Deregister(nodeOf("a", 1)))
	require.Less(t, time.Since(begin), 4*callTimeout)
	require.Equal(t, 1, count(r, "a"))
	require.NoError(t, r.Register(nodeOf("a", 1), registry.RegisterTTL(10*time.Second)), "the lease is good for now")
	require.NoError(t, s.Start(t.Context()))
	require.Eventually(t, func() bool { return r.Check(t.Context()) == nil }, 2*time.Second, 10*time.Millisecond)
}

// A process that ends without a word is forgotten when its lease has run out.
func TestProcessGone(t *testing.T) {
	t.Parallel()
	viewer, dead := open(t, address(t), t.Name()), open(t, address(t), t.Name())
	require.NoError(t, dead.Register(nodeOf("a", 1), registry.RegisterTTL(2*time.Second)))
	require.Eventually(t, func() bool { return count(viewer, "a") == 1 }, time.Second, time.Millisecond)
	require.NoError(t, dead.Close())
	require.Error(t, dead.Register(nodeOf("a", 1)))
	require.Eventually(t, func() bool { return count(viewer, "a") == 0 }, 6*time.Second, 10*time.Millisecond)
}

// One node is registered by two processes in turn, as with two replicas of the service registry. It stays when one of them
// is not asked any more.
func TestTwoRegistrars(t *testing.T) {
	t.Parallel()
	viewer, a, b := open(t, address(t), t.Name()), open(t, address(t), t.Name()), open(t, address(t), t.Name())
	require.NoError(t, a.Register(nodeOf("a", 1), registry.RegisterTTL(time.Second)))
	require.Eventually(t, func() bool { return count(viewer, "a") == 1 }, time.Second, time.Millisecond)
	for begin := time.Now(); time.Since(begin) < 4*time.Second; time.Sleep(100 * time.Millisecond) { //nolint:forbidigo // as a service does
		require.NoError(t, b.Register(nodeOf("a", 1), registry.RegisterTTL(time.Second)))
		require.Equal(t, 1, count(viewer, "a"))
	}
	require.NoError(t, a.Deregister(nodeOf("a", 1)))
	require.Eventually(t, func() bool { return count(viewer, "a") == 0 }, time.Second, time.Millisecond)
}

// A node that is registered again as it was costs etcd no write.
func TestNoWrites(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	r := open(t, s.Address(), "")
	for range 100 {
		require.NoError(t, r.Register(nodeOf("a", 1), registry.RegisterTTL(10*time.Second)))
	}
	_, revision, err := r.follower.epoch(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, revision, "it begins at 1; the epoch and the node are one each")
}

// relay is a way to a server that can be cut.
type relay struct {
	net.Listener

	to    string
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l, to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		r.set(true)
		running.Wait()
	})
	return r
}

func (r *relay) carry(in net.Conn) {
	defer in.Close() //nolint:errcheck // it is cut
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer out.Close() //nolint:errcheck // it is cut
	r.mu.Lock()
	r.conns = append(r.conns, in, out)
	cut := r.cut
	r.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
	_ = in.Close()
	<-done
}

func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for _, conn := range r.conns {
			_ = conn.Close()
		}
		r.conns = nil
	}
}

// What has happened while a client was cut off is not known any more when it is back.
func TestCompacted(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	way := newRelay(t, s.Host())
	viewer, writer := open(t, "etcd://"+way.Addr().String(), ""), open(t, s.Address(), "")
	for i := range 3 {
		require.NoError(t, writer.Register(nodeOf("a", i)))
	}
	require.Eventually(t, func() bool { return count(viewer, "a") == 3 }, time.Second, time.Millisecond)
	w, err := viewer.Watch(registry.WatchService("a"))
	require.NoError(t, err)
	defer w.Stop()

	way.set(true)
	require.NoError(t, writer.Deregister(nodeOf("a", 0)))
	changed := nodeOf("a", 1)
	changed.Nodes[0].Address = "10.0.0.2:1"
	require.NoError(t, writer.Register(changed))
	require.NoError(t, writer.Register(nodeOf("a", 3)))
	_, revision, err := writer.follower.epoch(t.Context())
	require.NoError(t, err)
	_, err = writer.client.Compact(t.Context(), revision, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	require.Equal(t, 3, count(viewer, "a"))
	way.set(false)

	told := make(map[string]string)
	for range 3 {
		result, err := w.Next()
		require.NoError(t, err)
		told[result.Service.Nodes[0].Id] = result.Action
	}
	require.Equal(t, map[string]string{"a-1": "update", "a-3": "create", "a-0": "delete"}, told)
	require.Equal(t, 3, count(viewer, "a"))
	stays(t, viewer, s)
}
