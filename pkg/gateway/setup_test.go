package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/context/metadata"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	billing "github.com/m3o/backend/billing/proto"
	billingfakes "github.com/m3o/backend/billing/proto/fakes"
	customers "github.com/m3o/backend/customers/proto"
	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/gateway"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/service/direct"
	usage "github.com/m3o/backend/usage/proto"
	usagefakes "github.com/m3o/backend/usage/proto/fakes"
)

const (
	jane, joe = "0190f8b0-0000-7000-8000-00000000000a", "0190f8b0-0000-7000-8000-00000000000b"
	janesKey  = "key-of-jane"
	path      = "/v1/weather/Now"
)

// clock is a clock that tests turn.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }

// platform is the services that a gateway asks, as fakes, and the one that it calls.
type platform struct {
	keys    *customersfakes.FakeKeysService
	usage   *usagefakes.FakeUsageService
	billing *billingfakes.FakeBillingService
	sold    *sold
	clock   *clock
	logins  atomic.Int64

	mu       sync.Mutex
	counted  map[string]*usage.Request // by id
	again    int                       // those that were counted already
	loginErr error
	tier     string
	quotas   map[string]int64
	used     map[string]int64 // by customer, besides what was counted
}

func newPlatform() *platform {
	p := &platform{
		keys: new(customersfakes.FakeKeysService), usage: new(usagefakes.FakeUsageService),
		billing: new(billingfakes.FakeBillingService), clock: new(clock), counted: make(map[string]*usage.Request),
		tier: "free", quotas: map[string]int64{"*": 1_000_000}, used: make(map[string]int64),
	}
	p.sold = &sold{Client: grpc.NewClient(), answer: `{"temperature":5}`}
	p.clock.at.Store(time.Date(2030, time.May, 31, 12, 0, 0, 0, time.UTC).UnixNano())
	p.keys.VerifyKeyCalls(p.verifyKey)
	p.usage.ReadMonthlyCalls(p.readMonthly)
	p.usage.RecordCalls(p.record)
	p.billing.ListPricesReturns(&billing.ListPricesResponse{Prices: []*billing.Price{
		{ApiName: "weather", EndpointName: "Now", Price: 100}, {ApiName: "weather", EndpointName: "ForecastFor", Price: 500},
		{ApiName: "weather", EndpointName: "Change", Price: 1}, {ApiName: "maps", EndpointName: "Find"}, {ApiName: "gone", EndpointName: "Now"},
		{ApiName: "weather", EndpointName: "Missing"}, {ApiName: "weather", EndpointName: "Internal"}, {ApiName: "weather", EndpointName: "Own"},
		{ApiName: "weather", EndpointName: "Public"},
	}}, nil)
	p.billing.ListTiersReturns(&billing.ListTiersResponse{Tiers: []*billing.Tier{
		{Id: "free", RateLimit: 1_000_000}, {Id: "slow", RateLimit: 2}, {Id: "none"}, {Id: "pro", RateLimit: 1000},
	}}, nil)
	return p
}

// verifyKey knows janesKey, joe's, and some with limits.
func (p *platform) verifyKey(_ context.Context, req *customers.VerifyKeyRequest, _ ...client.CallOption) (*customers.VerifyKeyResponse, error) {
	rsp := &customers.VerifyKeyResponse{CustomerId: jane, ApiKeyId: "id-of-" + req.ApiKey, Scopes: []string{"*"}}
	switch req.ApiKey {
	case janesKey:
	case "key-of-joe":
		rsp.CustomerId = joe
	case "for-maps":
		rsp.Scopes = []string{"maps", "weather/Change"}
	case "for-now":
		rsp.Scopes = []string{"weather/now"}
	case "for-weather":
		rsp.Scopes = []string{"weather"}
	case "expiring":
		rsp.ExpiresAt = p.clock.now().Unix() + 1
	case "banned":
		return nil, merrors.Forbidden("customers.Keys.VerifyKey", "the customer is not active")
	case "blocked":
		return nil, merrors.Forbidden("customers.Keys.VerifyKey", "%s", customers.KeyIsBlocked+"only an admin may call this")
	default:
		return nil, merrors.Unauthorized("customers.Keys.VerifyKey", "the key is not good")
	}
	return rsp, nil
}

func (p *platform) readMonthly(_ context.Context, req *usage.ReadMonthlyRequest, _ ...client.CallOption) (*usage.ReadMonthlyResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.used[req.CustomerId]
	now := p.clock.now().UTC()
	for _, r := range p.counted {
		if at := r.Time.AsTime(); r.CustomerId == req.CustomerId && at.Year() == now.Year() && at.Month() == now.Month() {
			n++
		}
	}
	return &usage.ReadMonthlyResponse{Requests: map[string]int64{"*": n}, Quotas: p.quotas, Tier: p.tier}, nil
}

func (p *platform) record(_ context.Context, req *usage.RecordRequest, _ ...client.CallOption) (*usage.RecordResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rsp := new(usage.RecordResponse)
	for _, r := range req.Requests {
		if _, ok := p.counted[r.Id]; ok {
			rsp.Duplicates++
			p.again++
			continue
		}
		p.counted[r.Id] = r
		rsp.Accepted++
	}
	return rsp, nil
}

// subscribe gives everybody a tier and a quota; none when it is negative.
func (p *platform) subscribe(tier string, quota int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tier, p.quotas = tier, map[string]int64{}
	if quota >= 0 {
		p.quotas["*"] = quota
	}
}

func (p *platform) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.counted)
}

// requireCounted waits until so many calls are counted, and no more.
func (p *platform) requireCounted(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return p.count() >= n }, 20*time.Second, 5*time.Millisecond, "%d of %d", p.count(), n)
	require.Equal(t, n, p.count())
}

// GetService implements edge.Finder.
func (p *platform) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	if name != "weather" && name != "maps" {
		return nil, registry.ErrNotFound
	}
	says := func(access string) map[string]string { return map[string]string{auth.EndpointKey: access} }
	return []*registry.Service{{Name: name, Nodes: []*registry.Node{{Address: "127.0.0.1:1"}}, Endpoints: []*registry.Endpoint{
		{Name: "Weather.Now", Metadata: map[string]string{auth.EndpointKey: "gateway", direct.LevelKey: direct.Safe}},
		{Name: "Weather.Change", Metadata: says("gateway")}, {Name: "Weather.ForecastFor", Metadata: says("gateway")},
		{Name: "Weather.Public", Metadata: says("public")}, {Name: "Weather.Own", Metadata: says("customer")},
		{Name: "Weather.Internal", Metadata: says("admin")}, {Name: "Maps.Find", Metadata: says("gateway")},
	}}}, nil
}

// sold is a client whose calls are answered as it is told.
type sold struct {
	client.Client
	calls atomic.Int64

	mu       sync.Mutex
	answer   string
	err      error
	endpoint string
	body     string
	metadata metadata.Metadata
}

func (s *sold) Call(ctx context.Context, request client.Request, response any, _ ...client.CallOption) error {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = request.Service() + " " + request.Endpoint()
	s.body = string(*request.Body().(*json.RawMessage))
	s.metadata, _ = metadata.FromContext(ctx)
	*response.(*json.RawMessage) = json.RawMessage(s.answer)
	return s.err
}

func (s *sold) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// process is a gateway with the API before it.
type process struct {
	*platform
	*gateway.Gateway
	http.Handler
	dir     string
	metrics *prometheus.Registry
}

// start starts a gateway that keeps its journal in dir.
func (p *platform) start(t testing.TB, dir string) *process {
	t.Helper()
	s := &process{platform: p, dir: dir, metrics: prometheus.NewRegistry()}
	silent := func(logger.Level, string, ...any) {}
	var err error
	s.Gateway, err = gateway.New(gateway.Config{
		Keys: p.keys, Usage: p.usage, Billing: p.billing, Dir: dir, JournalBytes: 1 << 20, Registerer: s.metrics,
		Clock: p.clock.now, Log: silent,
		Login: func(_ context.Context, service string) (string, error) {
			p.logins.Add(1)
			p.mu.Lock()
			defer p.mu.Unlock()
			return "token-for-" + service, p.loginErr
		},
	})
	require.NoError(t, err)
	s.Handler, err = edge.New(edge.Config{
		Client: p.sold, Services: p, Gateway: s.Gateway, Settings: edge.DefaultSettings(), Version: "v1", Log: silent,
	})
	require.NoError(t, err)
	return s
}

func setup(t testing.TB) *process {
	t.Helper()
	s := newPlatform().start(t, t.TempDir())
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// reply is an answer.
type reply struct {
	code   int
	header http.Header
	body   string
}

// do makes a request; each pair of header is added.
func (s *process) do(t testing.TB, method, target, body string, header ...string) reply {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return reply{w.Code, w.Header(), string(b)}
}

// call calls the endpoint that most tests are about, with a key.
func (s *process) call(t testing.TB, key string) reply {
	t.Helper()
	return s.do(t, "POST", path, `{"place":"Oslo"}`, "X-Api-Key", key)
}

// requireError checks that a call is refused by the gateway.
func requireError(t testing.TB, r reply, code int, detail string) {
	t.Helper()
	require.Equal(t, code, r.code, r.body)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	var e merrors.Error
	require.NoError(t, json.Unmarshal([]byte(r.body), &e), r.body)
	require.EqualValues(t, code, e.Code)
	require.Contains(t, []string{"gateway", "api"}, e.Id)
	require.Contains(t, e.Detail, detail)
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && e.Id == "gateway" {
		require.Regexp(t, `^[1-9][0-9]*$`, r.header.Get("Retry-After"))
	}
}

// metric is the value of a metric; of one with labels, of those that are given.
func (s *process) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (len(labels) == 0 || m.Label[0].GetValue() == labels[0]) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// aside is what was set aside.
func (s *process) aside(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "set-aside.jsonl"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return string(b)
}
