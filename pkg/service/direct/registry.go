package direct

import (
	"context"
	"time"

	pb "github.com/micro/micro/v3/proto/registry"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/registry/util"
)

// registryTimeout is how long the registry has for an answer.
const registryTimeout = 2 * time.Second

// rpcRegistry is the registry as a service. Micro's own client for it is not for concurrent use, and its watch cannot be
// ended.
type rpcRegistry struct {
	ctx context.Context //nolint:containedctx // Micro's interface has none
	pb  pb.RegistryService
}

// GetService implements Registry.
func (r *rpcRegistry) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	rsp, err := r.pb.GetService(r.ctx, &pb.GetRequest{Service: name}, client.WithAuthToken(),
		client.WithRequestTimeout(registryTimeout))
	if err != nil {
		return nil, err
	}
	services := make([]*registry.Service, 0, len(rsp.Services))
	for _, s := range rsp.Services {
		services = append(services, util.ToService(s))
	}
	return services, nil
}

// Watch implements Registry.
func (r *rpcRegistry) Watch(...registry.WatchOption) (registry.Watcher, error) {
	ctx, cancel := context.WithCancel(r.ctx)
	stream, err := r.pb.Watch(ctx, &pb.WatchRequest{}, client.WithAuthToken())
	if err != nil {
		cancel()
		return nil, err
	}
	return &rpcWatcher{stream: stream, cancel: cancel}, nil
}

type rpcWatcher struct {
	stream pb.Registry_WatchService
	cancel context.CancelFunc
}

// Next implements registry.Watcher.
func (w *rpcWatcher) Next() (*registry.Result, error) {
	r, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	return &registry.Result{Action: r.Action, Service: util.ToService(r.Service)}, nil
}

// Stop implements registry.Watcher.
func (w *rpcWatcher) Stop() { w.cancel() }
