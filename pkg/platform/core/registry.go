package core

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"

	pb "github.com/micro/micro/v3/proto/registry"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/registry/handler"
	"github.com/micro/micro/v3/service/registry/util"

	"github.com/m3o/backend/pkg/auth"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
)

// registration is Micro's handler of the registry, which believes whatever a service says of itself, and goes on watching for
// those who have gone.
type registration struct {
	*handler.Registry
	done context.Context //nolint:containedctx // ends when the service stops
	end  context.CancelFunc
}

func newRegistration(h *handler.Registry) *registration {
	r := &registration{Registry: h}
	r.done, r.end = context.WithCancel(context.Background())
	return r
}

// Watch tells of changes until the caller goes or the service stops.
func (r *registration) Watch(ctx context.Context, req *pb.WatchRequest, rpc pb.Registry_WatchStream) error {
	domain := cmp.Or(req.GetOptions().GetDomain(), registry.DefaultDomain)
	w, err := registry.DefaultRegistry.Watch(registry.WatchService(req.Service), registry.WatchDomain(domain))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	var once sync.Once
	stop := func() { once.Do(w.Stop) }
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	defer context.AfterFunc(r.done, stop)()
	for {
		next, err := w.Next()
		if ctx.Err() != nil || r.done.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if err := rpc.Send(&pb.Result{Action: next.Action, Service: util.ToProto(next.Service)}); err != nil {
			return err
		}
	}
}

// Register registers a service for as long as one that was killed may be taken for alive, and marks the nodes of one that is
// sold. Such a one can be reached only where it came from, or the platform would call any address for it.
func (r *registration) Register(ctx context.Context, req *pb.Service, rsp *pb.EmptyResponse) error {
	caller := auth.CallerFrom(ctx)
	if req.Options == nil {
		req.Options = new(pb.Options)
	}
	if most := int64(service.RegisterTTL.Seconds()); req.Options.Ttl <= 0 || req.Options.Ttl > most {
		req.Options.Ttl = most
	}
	for _, node := range req.Nodes {
		delete(node.Metadata, direct.SoldKey)
		if caller.Kind != auth.Sold {
			continue
		}
		if host, _, err := net.SplitHostPort(node.Address); err != nil || host != peerOf(ctx) {
			return kinds.Forbidden("nodes.address: must be where the service calls from")
		}
		if node.Metadata == nil {
			node.Metadata = make(map[string]string)
		}
		node.Metadata[direct.SoldKey] = "true"
	}
	return r.Registry.Register(ctx, req, rsp)
}

// peerOf is the address that a call came from.
func peerOf(ctx context.Context) string {
	remote, _ := metadata.Get(ctx, "Remote")
	host, _, _ := net.SplitHostPort(remote)
	return host
}
