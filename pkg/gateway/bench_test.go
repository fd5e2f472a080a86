package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/require"

	billing "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/pkg/gateway"
	"github.com/m3o/backend/pkg/platform/edge"
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

// BenchmarkHTTP is a call through all of the HTTP API, with a key and without.
func BenchmarkHTTP(b *testing.B) {
	p := newPlatform()
	h, err := edge.New(edge.Config{
		Client: p.sold, Services: p, Gateway: benchGateway(b), Settings: edge.DefaultSettings(), Version: "v1",
		Log: func(logger.Level, string, ...any) {},
	})
	require.NoError(b, err)
	for name, target := range map[string]string{"with a key": "/v1/weather/Public", "without": "/weather/Public"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(`{}`))
					r.Host = "localhost"
					if strings.HasPrefix(target, gateway.Prefix) {
						r.Header.Set("X-Api-Key", janesKey)
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Error(w.Code, w.Body)
					}
				}
			})
		})
	}
}

func benchGateway(b *testing.B) *gateway.Gateway {
	b.Helper()
	p := newPlatform()
	p.subscribe("free", -1)
	p.billing.ListTiersReturns(&billing.ListTiersResponse{Tiers: []*billing.Tier{{Id: "free", RateLimit: 1 << 40}}}, nil)
	p.usage.RecordCalls(nil) // it takes everything, and remembers nothing
	p.usage.RecordReturns(new(usage.RecordResponse), nil)
	g, err := gateway.New(gateway.Config{
		Keys: p.keys, Usage: p.usage, Billing: p.billing, Dir: b.TempDir(), JournalBytes: 8 << 30,
		Log: func(logger.Level, string, ...any) {}, Login: func(context.Context, string) (string, error) { return "token", nil },
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, g.Close()) })
	return g
}
