//go:build platform

package etcd

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	pb "github.com/micro/micro/v3/proto/registry"
	"github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	stock "github.com/micro/micro/v3/service/registry/client"
	"github.com/micro/micro/v3/service/registry/handler"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/registrytest"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// noticed is a registry that tells when somebody watches.
type noticed struct {
	*Registry

	watches chan struct{}
}

func (n noticed) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	w, err := n.Registry.Watch(opts...)
	select {
	case n.watches <- struct{}{}:
	default:
	}
	return w, err
}

// patient is Micro's client, which does not wait until it is served, and is not for concurrent use.
type patient struct {
	registry.Registry

	mu      *sync.Mutex
	watches <-chan struct{}
}

func (p patient) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Registry.Register(s, opts...)
}

func (p patient) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Registry.Deregister(s, opts...)
}

func (p patient) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Registry.GetService(name, opts...)
}

func (p patient) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Registry.ListServices(opts...)
}

func (p patient) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	w, err := p.Registry.Watch(opts...)
	select {
	case <-p.watches:
	case <-time.After(time.Second): // it was refused
	}
	return w, err
}

// Micro's own client of the service registry has all that the engine has.
func TestStockClient(t *testing.T) { //nolint:paralleltest // Micro's handler and client go by globals
	n := noticed{open(t, address(t), uuid.NewString()), make(chan struct{}, 100)}
	before, beforeClient := registry.DefaultRegistry, client.DefaultClient
	t.Cleanup(func() { registry.DefaultRegistry, client.DefaultClient = before, beforeClient })
	registry.DefaultRegistry = n
	client.DefaultClient = servicetest.Serve(t, "registry", func(s server.Server) error {
		return pb.RegisterRegistryHandler(s, &handler.Registry{ID: "test", Event: service.NewEvent("registry.events")})
	})
	// Micro's handler watches on when nobody listens any more, and the server waits for it.
	t.Cleanup(func() { n.view.end(registry.ErrWatcherStopped) })
	failing := registrytest.Failing(func() registry.Registry { return patient{stock.NewRegistry(), new(sync.Mutex), n.watches} })
	require.Empty(t, failing)
}
