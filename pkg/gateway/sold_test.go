package gateway_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	memory "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	billing "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/gateway"
	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// guarded is a service that is sold, and tells who calls it.
type guarded struct {
	pb.GuardedHandler
	seen chan auth.Caller
}

func (g *guarded) Sell(ctx context.Context, _ *pb.SellRequest, _ *pb.SellResponse) error {
	g.seen <- auth.CallerFrom(ctx)
	return nil
}

// From the HTTP request to the handler of a service that is sold, over the real client and the real server: the handler sees
// the customer, and only the gateway gets there.
func TestSoldServiceSeesTheCustomer(t *testing.T) {
	t.Parallel()
	h := &guarded{seen: make(chan auth.Caller, 1)}
	s := servicetest.Serve(t, "guarded", func(s server.Server) error { return pb.RegisterGuardedHandler(s, h) })
	reg := memory.NewRegistry()
	require.NoError(t, reg.Register(&registry.Service{
		Name: "guarded", Version: "latest",
		Nodes:     []*registry.Node{{Id: "guarded-1", Address: s.Address, Metadata: map[string]string{direct.SoldKey: "true"}}},
		Endpoints: []*registry.Endpoint{{Name: "Guarded.Sell", Metadata: map[string]string{auth.EndpointKey: "gateway"}}},
	}))
	// The process has a token of its own, which must not get there.
	c := direct.New(direct.Config{Registry: reg, Credentials: func() (string, string) { return "micro", servicetest.Token(servicetest.Admin) }})
	t.Cleanup(func() { require.NoError(t, c.Close()) })

	p := newPlatform()
	p.billing.ListPricesReturns(&billing.ListPricesResponse{Prices: []*billing.Price{{ApiName: "guarded", EndpointName: "Sell"}}}, nil)
	silent := func(logger.Level, string, ...any) {}
	for name, tc := range map[string]struct {
		account string
		code    int
	}{"gateway": {"guarded", http.StatusOK}, "another gateway": {"other", http.StatusServiceUnavailable}} {
		g, err := gateway.New(gateway.Config{
			Keys: p.keys, Usage: p.usage, Billing: p.billing, Dir: t.TempDir(), JournalBytes: 1 << 20, Log: silent,
			Login: func(context.Context, string) (string, error) {
				return servicetest.Token(token.GatewayAccount(tc.account)), nil
			},
		})
		require.NoError(t, err)
		e, err := edge.New(edge.Config{Client: c, Services: reg, Gateway: g, Settings: edge.DefaultSettings(), Version: "v1", Log: silent})
		require.NoError(t, err)
		r := (&process{platform: p, Handler: e}).do(t, "POST", "/v1/guarded/sell", `{}`, "Authorization", "Bearer key-of-joe", "Customer-Id", jane)
		require.Equal(t, tc.code, r.code, "%s: %s", name, r.body)
		if tc.code == http.StatusOK {
			require.Equal(t, auth.Caller{Kind: auth.Customer, ID: joe}, <-h.seen)
		}
		r = (&process{platform: p, Handler: e}).do(t, "POST", "/guarded/sell", `{}`, "Authorization", "Bearer "+servicetest.Token(servicetest.Admin))
		require.Equal(t, http.StatusNotFound, r.code)
		require.NoError(t, g.Close())
	}
	require.Empty(t, h.seen)
}
