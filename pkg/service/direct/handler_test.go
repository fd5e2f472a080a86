package direct_test

import (
	"context"
	stderrors "errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	membroker "github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
)

// counter is the handler of the tests' nodes.
type counter struct {
	node  string
	calls atomic.Int64
	// began and ended get the deadline of each Add, and why its context has ended before it was through.
	began chan time.Time
	ended chan error
	// onCall is called first; nil is nothing.
	onCall func()
}

func (c *counter) see() {
	c.calls.Add(1)
	if c.onCall != nil {
		c.onCall()
	}
}

func (c *counter) Read(_ context.Context, _ *pb.ReadRequest, rsp *pb.ReadResponse) error {
	c.see()
	rsp.Node = c.node
	return nil
}

func (c *counter) Reset(context.Context, *pb.ResetRequest, *pb.ResetResponse) error {
	c.see()
	return nil
}

func (c *counter) Add(ctx context.Context, req *pb.AddRequest, rsp *pb.AddResponse) error {
	c.see()
	if c.began != nil {
		deadline, _ := ctx.Deadline()
		c.began <- deadline
	}
	select {
	case <-time.After(req.Wait.AsDuration()):
	case <-ctx.Done():
		if c.ended != nil {
			c.ended <- ctx.Err()
		}
		return ctx.Err()
	}
	rsp.Node, rsp.Data = c.node, req.Data
	return nil
}

// node is a node in the process of the test.
type node struct {
	*service.Server
	*counter
	registry registry.Registry
}

// nodeOf starts a node with a handler, and registers it.
func nodeOf(t *testing.T, reg registry.Registry, h *counter, more ...func(server.Server) error) *node {
	t.Helper()
	s, err := service.NewServer(grpcserver.NewServer(
		server.Name(serviceName), server.Id(h.node), server.Address("127.0.0.1:0"),
		server.Registry(reg), server.Broker(membroker.NewBroker()),
	), func(string) (*auth.Account, error) { return nil, auth.ErrInvalidToken })
	require.NoError(t, err)
	require.NoError(t, pb.RegisterCounterHandler(s, h))
	for _, register := range more {
		require.NoError(t, register(s))
	}
	require.NoError(t, s.Start())
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return &node{Server: s, counter: h, registry: reg}
}

// entry is what the registry knows of a node at an address.
func entry(id, address string, endpoints ...*registry.Endpoint) *registry.Service {
	return &registry.Service{
		Name: serviceName, Version: "latest", Endpoints: endpoints, Nodes: []*registry.Node{{Id: id, Address: address}},
	}
}

// clientWith returns a client with a registry in the process of the test.
func clientWith(t testing.TB, config direct.Config) *direct.Client {
	t.Helper()
	if config.Registry == nil {
		config.Registry = memregistry.NewRegistry()
	}
	c := direct.New(config)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// chatter is the handler of the streams.
type chatter struct {
	pb.ShapesHandler
	ended chan error
}

func (c *chatter) Count(_ context.Context, req *pb.CountRequest, stream pb.Shapes_CountStream) error {
	for i := range req.To {
		if err := stream.Send(&pb.CountResponse{Number: i}); err != nil {
			return err
		}
	}
	return nil
}

func (c *chatter) Sum(_ context.Context, stream pb.Shapes_SumStream) error {
	var sum int32
	for {
		m, err := stream.Recv()
		if stderrors.Is(err, io.EOF) {
			return stream.SendMsg(&pb.SumResponse{Sum: sum})
		}
		if err != nil {
			return err
		}
		sum += m.Number
	}
}

func (c *chatter) Chat(_ context.Context, stream pb.Shapes_ChatStream) error {
	for {
		m, err := stream.Recv()
		if stderrors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			c.ended <- err
			return err
		}
		if m.Text == "forbidden" {
			return errors.Forbidden("test", "not that")
		}
		if err := stream.Send(&pb.ChatResponse{Text: strings.ToUpper(m.Text)}); err != nil {
			return err
		}
	}
}
