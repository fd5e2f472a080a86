package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/service/telemetry"
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var accounts = map[string]*auth.Account{
	"admin":     {ID: "admin", Issuer: "micro", Type: "user", Scopes: []string{"admin"}},
	"customer":  {ID: "0190f8b0-0000-7000-8000-00000000000a", Issuer: "micro", Type: "customer", Scopes: []string{"admin"}},
	"user":      {ID: "user", Issuer: "micro", Type: "user"},
	"service":   {ID: "x", Issuer: "micro", Type: "service", Scopes: []string{"service"}, Metadata: map[string]string{"service": "x"}},
	"elsewhere": {ID: "admin", Issuer: "other", Type: "user", Scopes: []string{"admin"}},
}

func inspect(token string) (*auth.Account, error) {
	if account, ok := accounts[token]; ok {
		return account, nil
	}
	return nil, auth.ErrInvalidToken
}

func start(t *testing.T, cfg monitor.Config) *monitor.Monitor {
	t.Helper()
	cfg.Service, cfg.Inspect = "shaper", inspect
	if cfg.Alive == nil {
		cfg.Alive = new(monitor.Checks)
	}
	if cfg.Ready == nil {
		cfg.Ready = new(monitor.Checks)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = telemetry.New(telemetry.Config{}).Registry()
	}
	m, err := monitor.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Stop()) })
	return m
}

// ask sends a request and returns the code and the body of the answer. Its connection ends with it.
func ask(t *testing.T, m *monitor.Monitor, method, path string, authorization ...string) (code int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+m.Address()+path, http.NoBody)
	require.NoError(t, err)
	req.Close = true
	for _, a := range authorization {
		req.Header.Add("Authorization", a)
	}
	rsp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer rsp.Body.Close()
	body, err = io.ReadAll(rsp.Body)
	require.NoError(t, err)
	return rsp.StatusCode, body
}

func TestMetricsCanBeScraped(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{})
	r.Method("shaper", "Shapes.Echo", false).Begin(t.Context()).End(200)
	m := start(t, monitor.Config{Metrics: r.Registry()})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.Address()+"/metrics", http.NoBody)
	require.NoError(t, err)
	req.Close = true
	rsp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer rsp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(rsp.Body)
	require.NoError(t, err)
	require.Contains(t, families, "go_goroutines")
	require.Contains(t, families, "rpc_server_calls_total")
	require.InDelta(t, 1, families["rpc_server_calls_total"].GetMetric()[0].GetCounter().GetValue(), 0)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	alive, ready := new(monitor.Checks), new(monitor.Checks)
	ready.Add("database", func(context.Context) error { return errors.New("10.0.0.1 refused") })
	ready.Add("registration", func(context.Context) error { return nil })
	m := start(t, monitor.Config{Alive: alive, Ready: ready})

	code, body := ask(t, m, http.MethodGet, "/healthz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status": "alive", "service": "shaper"}`, string(body))
	code, body = ask(t, m, http.MethodGet, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"status": "not ready", "service": "shaper", "failing": ["database"]}`, string(body))

	alive.Add("server", func(context.Context) error { return errors.New("wedged") })
	ready.Drain()
	code, body = ask(t, m, http.MethodGet, "/healthz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"status": "not alive", "service": "shaper", "failing": ["server"]}`, string(body))
	_, body = ask(t, m, http.MethodGet, "/readyz")
	require.JSONEq(t, `{"status": "not ready", "service": "shaper", "failing": ["database", "draining"]}`, string(body))
}

func TestProfilesAreForAdmins(t *testing.T) {
	t.Parallel()
	m := start(t, monitor.Config{})
	for name, tc := range map[string]struct {
		authorization []string
		code          int
	}{
		"nobody":    {nil, 401},
		"bad":       {[]string{"Bearer s3cr3t"}, 401},
		"basic":     {[]string{"Basic admin"}, 401},
		"twice":     {[]string{"Bearer admin", "Bearer admin"}, 401},
		"customer":  {[]string{"Bearer customer"}, 403},
		"user":      {[]string{"Bearer user"}, 403},
		"service":   {[]string{"Bearer service"}, 403},
		"elsewhere": {[]string{"Bearer elsewhere"}, 403},
		"admin":     {[]string{"Bearer admin"}, 200},
	} {
		for _, path := range []string{"", "goroutine?debug=1", "heap", "cmdline", "symbol", "profile?seconds=1", "trace?seconds=0.1"} {
			if tc.code == 200 && path == "profile?seconds=1" {
				continue // one that takes a second is enough, below
			}
			code, body := ask(t, m, http.MethodGet, "/debug/pprof/"+path, tc.authorization...)
			require.Equal(t, tc.code, code, "%s by %s", path, name)
			if code != 200 {
				requireError(t, body, code)
				require.NotContains(t, string(body), "s3cr3t")
			}
		}
	}
	code, body := ask(t, m, http.MethodGet, "/debug/pprof/profile?seconds=1", "Bearer admin")
	require.Equal(t, 200, code)
	require.NotEmpty(t, body)
}

func requireError(t *testing.T, body []byte, code int) {
	t.Helper()
	var e struct {
		ID, Detail string
		Code       int
	}
	require.NoError(t, json.Unmarshal(body, &e), "%s", body)
	require.Equal(t, "shaper", e.ID)
	require.Equal(t, code, e.Code)
	require.NotEmpty(t, e.Detail)
}

func TestNothingElseIsThere(t *testing.T) {
	t.Parallel()
	m := start(t, monitor.Config{})
	for _, path := range []string{"/", "/metrics/x", "/debug/vars", "/healthz/", "/..%2f", "/shaper/Shapes/Echo"} {
		code, body := ask(t, m, http.MethodGet, path)
		require.Equal(t, http.StatusNotFound, code, path)
		requireError(t, body, code)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/profile"} {
		code, body := ask(t, m, http.MethodPost, path, "Bearer admin")
		require.Equal(t, http.StatusNotFound, code, path)
		requireError(t, body, code)
	}
}

func TestAddress(t *testing.T) {
	t.Setenv(monitor.AddressEnv, "")
	host, _, err := net.SplitHostPort(start(t, monitor.Config{}).Address())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host, "nobody but this machine")

	t.Setenv(monitor.AddressEnv, "[::1]:0")
	host, _, err = net.SplitHostPort(start(t, monitor.Config{}).Address())
	require.NoError(t, err)
	require.Equal(t, "::1", host)

	taken := start(t, monitor.Config{Address: "127.0.0.1:0"}).Address()
	for address, want := range map[string]string{
		"9100": "MICRO_METRICS_ADDRESS: expected host:port", taken: "address already in use",
	} {
		t.Setenv(monitor.AddressEnv, address)
		_, err := monitor.Start(monitor.Config{Metrics: prometheus.NewRegistry()})
		require.ErrorContains(t, err, want)
	}
}

// Neither a profile nor a check that somebody is waiting for holds up the end.
func TestStopWaitsForNobody(t *testing.T) {
	t.Parallel()
	running := make(chan struct{})
	alive := new(monitor.Checks)
	alive.Add("slow", func(ctx context.Context) error { close(running); <-ctx.Done(); return nil })
	m, err := monitor.Start(monitor.Config{Alive: alive, Ready: alive, Metrics: prometheus.NewRegistry(), Inspect: inspect})
	require.NoError(t, err)
	var waiting sync.WaitGroup
	for _, path := range []string{"/healthz", "/debug/pprof/mutex?seconds=60"} {
		waiting.Go(func() {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+m.Address()+path, http.NoBody)
			if !assert.NoError(t, err) {
				return
			}
			req.Close = true
			req.Header.Set("Authorization", "Bearer admin")
			if rsp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, rsp.Body) // a profile breaks off
				rsp.Body.Close()
			}
		})
	}
	<-running
	began := time.Now()
	require.NoError(t, m.Stop())
	require.Less(t, time.Since(began), 1900*time.Millisecond)
	waiting.Wait()
}
