package core

import (
	"context"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/registry"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/registry/handler"
	memory "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/servicetest"
)

// counted is a registry that tells of the watchers that are stopped.
type counted struct {
	registry.Registry
	stopped chan struct{}
}

type countedWatcher struct {
	registry.Watcher
	stopped chan<- struct{}
}

func (c counted) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	w, err := c.Registry.Watch(opts...)
	return countedWatcher{w, c.stopped}, err
}

func (w countedWatcher) Stop() {
	w.Watcher.Stop()
	w.stopped <- struct{}{}
}

func TestWatchersGoWithTheirCallers(t *testing.T) { //nolint:paralleltest // the registry is a global
	before := registry.DefaultRegistry
	c := counted{memory.NewRegistry(), make(chan struct{}, 10)}
	registry.DefaultRegistry = c
	t.Cleanup(func() { registry.DefaultRegistry = before })
	h := newRegistration(new(handler.Registry))
	caller := servicetest.Serve(t, "registry", func(s server.Server) error { return pb.RegisterRegistryHandler(s, h) })
	rpc := pb.NewRegistryService("registry", caller.As(servicetest.Service("usage")))
	watch := func(ctx context.Context) pb.Registry_WatchService {
		w, err := rpc.Watch(ctx, &pb.WatchRequest{}, client.WithAuthToken())
		require.NoError(t, err)
		results := make(chan string, 1)
		go func() {
			if result, err := w.Recv(); err == nil {
				results <- result.Action
			}
		}()
		require.Eventually(t, func() bool { // it watches from some time on
			require.NoError(t, c.Register(&registry.Service{Name: "new", Version: "1", Nodes: []*registry.Node{{Id: time.Now().String(), Address: "a:1"}}}))
			return len(results) == 1
		}, 10*time.Second, 10*time.Millisecond)
		return w
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch(ctx)
	cancel()
	<-c.stopped
	w := watch(t.Context())
	h.end()
	<-c.stopped
	require.Eventually(t, func() bool { _, err := w.Recv(); return err != nil }, 10*time.Second, time.Millisecond)
}
