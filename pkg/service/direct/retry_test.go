package direct_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

// cable is a connection to a node that can be cut while a call is on it.
type cable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

// lay listens in front of an address.
func lay(t *testing.T, address func() string) *cable {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{Listener: l}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		c.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", address())
			if !assert.NoError(t, err) {
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, near, far)
			c.mu.Unlock()
			for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
				wg.Go(func() { _, _ = io.Copy(to, from) }) // until it is cut
			}
		}
	})
	return c
}

// cut ends the connections that there are.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close() // or the node has
	}
	c.conns = nil
}

// brittle is a client of a node whose connection is cut during its first calls.
func brittle(t *testing.T, cuts int64, endpoints ...*registry.Endpoint) (*direct.Client, *counter) {
	t.Helper()
	h := &counter{node: "a"}
	n := nodeOf(t, memregistry.NewRegistry(), h)
	c := lay(t, func() string { return n.Options().Address })
	h.onCall = func() {
		if h.calls.Load() <= cuts {
			c.cut()
		}
	}
	reg := memregistry.NewRegistry()
	require.NoError(t, reg.Register(entry("a", c.Addr().String(), endpoints...)))
	return clientWith(t, direct.Config{Registry: reg}), h
}

func TestRepeatsWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	read := func(ctx context.Context, c *direct.Client, opts ...client.CallOption) error {
		_, err := pb.NewCounterService(serviceName, c).Read(ctx, &pb.ReadRequest{}, opts...)
		return err
	}
	raw := func(endpoint string) func(ctx context.Context, c *direct.Client, opts ...client.CallOption) error {
		return func(ctx context.Context, c *direct.Client, opts ...client.CallOption) error {
			var rsp json.RawMessage
			req := c.NewRequest(serviceName, endpoint, json.RawMessage(`{}`), client.WithContentType("application/json"))
			return c.Call(ctx, req, &rsp, opts...)
		}
	}
	says := func(endpoint, level string) *registry.Endpoint {
		return &registry.Endpoint{Name: endpoint, Metadata: map[string]string{direct.LevelKey: level}}
	}
	for name, tc := range map[string]struct {
		cuts  int64
		call  func(context.Context, *direct.Client, ...client.CallOption) error
		says  []*registry.Endpoint
		opts  []client.CallOption
		calls int64
		fails bool
	}{
		"no side effects": {cuts: 1, call: read, calls: 2},
		"idempotent": {cuts: 1, call: func(ctx context.Context, c *direct.Client, opts ...client.CallOption) error {
			_, err := pb.NewCounterService(serviceName, c).Reset(ctx, &pb.ResetRequest{}, opts...)
			return err
		}, calls: 2},
		"says nothing": {cuts: 1, call: func(ctx context.Context, c *direct.Client, opts ...client.CallOption) error {
			_, err := pb.NewCounterService(serviceName, c).Add(ctx, &pb.AddRequest{}, opts...)
			return err
		}, calls: 1, fails: true},
		"too often":              {cuts: 5, call: read, calls: 3, fails: true},
		"no retries wanted":      {cuts: 1, call: read, opts: []client.CallOption{client.WithRetries(0)}, calls: 1, fails: true},
		"the registry says so":   {cuts: 1, call: raw("Counter.Read"), says: []*registry.Endpoint{says("Counter.Read", "NO_SIDE_EFFECTS")}, calls: 2},
		"the registry says less": {cuts: 1, call: raw("Counter.Read"), says: []*registry.Endpoint{says("Counter.Add", "IDEMPOTENT")}, calls: 1, fails: true},
		"something unknown":      {cuts: 1, call: raw("Counter.Read"), says: []*registry.Endpoint{says("Counter.Read", "PERHAPS")}, calls: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h := brittle(t, tc.cuts, tc.says...)
			err := tc.call(t.Context(), c, tc.opts...)
			assert.Equal(t, tc.calls, h.calls.Load())
			if !tc.fails {
				require.NoError(t, err)
				return
			}
			e := errors.FromError(err)
			assert.EqualValues(t, 503, e.Code)
			assert.Equal(t, direct.ErrorID, e.Id)
			assert.Contains(t, e.Detail, "may have been carried out")
		})
	}
}

// The nodes say in the registry what their protos do, for callers such as the HTTP API.
func TestNodesPublishWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	nodeOf(t, reg, &counter{node: "a"})
	services, err := reg.GetService(serviceName)
	require.NoError(t, err)
	levels := make(map[string]string)
	for _, e := range services[0].Endpoints {
		levels[e.Name] = e.Metadata[direct.LevelKey]
	}
	assert.Equal(t, map[string]string{
		"Counter.Read": "NO_SIDE_EFFECTS", "Counter.Reset": "IDEMPOTENT", "Counter.Add": "",
	}, levels)
}
