package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
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
	usage "github.com/m3o/backend/usage/proto"
)

// BenchmarkAdmit is what the gateway itself costs a call: to decide, and to write it down.
func BenchmarkAdmit(b *testing.B) {
	g := benchGateway(b)
	header := http.Header{"X-Api-Key": {janesKey}}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call, err := g.Admit(b.Context(), path, header)
			if err != nil || call.Count(http.StatusOK) != nil {
				b.Error(err)
			}
		}
	})
}

// shapes echoes.
type shapes struct{ pb.ShapesHandler }

func (shapes) Echo(context.Context, *pb.EchoRequest, *pb.EchoResponse) error { return nil }

// BenchmarkHTTP is a call over HTTP and RPC, on sockets, with a key and without: of the same public endpoint, as nothing else
// can be called in both ways.
func BenchmarkHTTP(b *testing.B) {
	service := servicetest.Serve(b, "shapes", func(s server.Server) error { return pb.RegisterShapesHandler(s, shapes{}) })
	reg := memory.NewRegistry()
	require.NoError(b, reg.Register(&registry.Service{
		Name: "shapes", Version: "latest",
		Nodes:     []*registry.Node{{Id: "shapes-1", Address: service.Address, Metadata: map[string]string{direct.SoldKey: "true"}}},
		Endpoints: []*registry.Endpoint{{Name: "Shapes.Echo", Metadata: map[string]string{auth.EndpointKey: "public"}}},
	}))
	c := direct.New(direct.Config{Registry: reg})
	b.Cleanup(func() { require.NoError(b, c.Close()) })
	h, err := edge.New(edge.Config{
		Client: c, Services: reg, Gateway: benchGateway(b), Settings: edge.DefaultSettings(), Version: "v1",
		Log: func(logger.Level, string, ...any) {},
	})
	require.NoError(b, err)
	api := httptest.NewServer(h)
	b.Cleanup(api.Close)
	const callers = 32
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers * runtime.GOMAXPROCS(0)}}
	for name, target := range map[string]string{"with a key": "/v1/shapes/Echo", "without": "/shapes/Echo"} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, api.URL+target, strings.NewReader(`{}`))
					if err == nil {
						if strings.HasPrefix(target, gateway.Prefix) {
							r.Header.Set("X-Api-Key", janesKey)
						}
						err = do(web, r)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// do makes a request that is to succeed.
func do(c *http.Client, r *http.Request) error {
	rsp, err := c.Do(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d: %s", rsp.StatusCode, body)
	}
	return errors.Join(err, rsp.Body.Close())
}

func benchGateway(b *testing.B) *gateway.Gateway {
	b.Helper()
	p := newPlatform()
	p.subscribe("free", -1)
	p.billing.ListTiersReturns(&billing.ListTiersResponse{Tiers: []*billing.Tier{{Id: "free", RateLimit: 1 << 40}}}, nil)
	p.billing.ListPricesReturns(&billing.ListPricesResponse{Prices: []*billing.Price{
		{ApiName: "weather", EndpointName: "Now"}, {ApiName: "shapes", EndpointName: "Echo"},
	}}, nil)
	p.usage.RecordCalls(nil) // it takes everything, and remembers nothing
	p.usage.RecordReturns(new(usage.RecordResponse), nil)
	g, err := gateway.New(gateway.Config{
		Keys: p.keys, Usage: p.usage, Billing: p.billing, Dir: b.TempDir(), JournalBytes: 8 << 30,
		Log: func(logger.Level, string, ...any) {},
		Login: func(_ context.Context, service string) (string, error) {
			return servicetest.Token(token.GatewayAccount(service)), nil
		},
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, g.Close()) })
	return g
}
