package direct_test

import (
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

// gauge counts connections as they are reported, by service and state.
type gauge struct {
	mu  sync.Mutex
	now map[[2]string]int
	t   *testing.T
}

func (g *gauge) report(service, before, after string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	assert.NotEqual(g.t, before, after)
	if before != "" {
		was := [2]string{service, before}
		g.now[was]--
		assert.GreaterOrEqual(g.t, g.now[was], 0, "a connection has left a state that it was not in")
		if g.now[was] == 0 {
			delete(g.now, was)
		}
	}
	if after != "" {
		g.now[[2]string{service, after}]++
	}
}

func (g *gauge) becomes(want map[[2]string]int) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return maps.Equal(want, g.now)
	}, 5*time.Second, 5*time.Millisecond, "%v", g.now)
}

func TestStatesOfConnections(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	a := nodeOf(t, reg, &counter{node: "a"})
	b := nodeOf(t, reg, &counter{node: "b"})
	c := direct.New(direct.Config{Registry: reg, Settle: time.Millisecond, Poll: 10 * time.Millisecond, Patience: 300 * time.Millisecond})
	service := pb.NewCounterService(serviceName, c)
	_, err := service.Read(t.Context(), &pb.ReadRequest{})
	require.NoError(t, err)

	g := &gauge{now: make(map[[2]string]int), t: t}
	c.Report(g.report) // of those that there are already, too
	g.becomes(map[[2]string]int{{serviceName, "READY"}: 2})

	_, err = pb.NewCounterService("named", c).Read(t.Context(), &pb.ReadRequest{}, client.WithAddress("127.0.0.1:1"))
	require.Error(t, err)
	g.becomes(map[[2]string]int{{serviceName, "READY"}: 2, {"named", "TRANSIENT_FAILURE"}: 1})
	_, err = pb.NewCounterService("named", c).Read(t.Context(), &pb.ReadRequest{}, client.WithAddress(a.Options().Address))
	require.Error(t, err, "the node is one of another service")
	g.becomes(map[[2]string]int{{serviceName, "READY"}: 2, {"named", "TRANSIENT_FAILURE"}: 1, {"named", "READY"}: 1})

	require.NoError(t, reg.Deregister(entry(serviceName+"-b", b.Options().Address)))
	g.becomes(map[[2]string]int{{serviceName, "READY"}: 1, {"named", "TRANSIENT_FAILURE"}: 1, {"named", "READY"}: 1})
	require.NoError(t, c.Close())
	g.becomes(map[[2]string]int{})
}
