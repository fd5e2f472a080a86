package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/service/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireMetric compares the lines of one metric with what is expected, in the text format of Prometheus.
func requireMetric(t *testing.T, r *telemetry.Recorder, name string, lines ...string) {
	t.Helper()
	problems, err := testutil.GatherAndLint(r.Registry(), name)
	require.NoError(t, err)
	require.Empty(t, problems)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(r.Registry(), promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, answer.Code)
	var found []string
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, name+"{") {
			found = append(found, strings.TrimSpace(strings.TrimPrefix(line, name)))
		}
	}
	require.ElementsMatch(t, lines, found)
}

func TestServerMetrics(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{Log: discard(t)})
	m := r.Method("a", "A.B", false)
	open := m.Begin(t.Context())
	for _, code := range []int{200, 200, 404, 404, 503, 7, 4999} {
		m.Begin(t.Context()).End(code)
	}
	requireMetric(t, r, "rpc_server_calls_total",
		`{code="200",endpoint="A.B",service="a"} 2`, `{code="404",endpoint="A.B",service="a"} 2`,
		`{code="503",endpoint="A.B",service="a"} 1`, `{code="unknown",endpoint="A.B",service="a"} 2`)
	requireMetric(t, r, "rpc_server_in_flight", `{endpoint="A.B",service="a"} 1`)
	requireMetric(t, r, "rpc_server_duration_seconds_count", `{endpoint="A.B",service="a"} 7`)
	open.End(200)
	requireMetric(t, r, "rpc_server_in_flight", `{endpoint="A.B",service="a"} 0`)
}

func TestClientMetrics(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{})
	for _, err := range []error{
		nil, microerrors.NotFound("b", "x"), fmt.Errorf("wrapped: %w", microerrors.Forbidden("b", "x")),
		context.Canceled, fmt.Errorf("wrapped: %w", context.DeadlineExceeded), errors.New("x"), microerrors.New("b", "x", 7),
	} {
		_, call := r.Client(t.Context(), "b", "B.C")
		requireMetric(t, r, "rpc_client_in_flight", `{endpoint="B.C",target="b"} 1`)
		call.End(err)
	}
	var lines []string
	for code, n := range map[string]int{"200": 1, "403": 1, "404": 1, "408": 2, "500": 1, "unknown": 1} {
		lines = append(lines, fmt.Sprintf(`{code="%s",endpoint="B.C",target="b"} %d`, code, n))
	}
	requireMetric(t, r, "rpc_client_calls_total", lines...)

	r.Connection("b", "", "CONNECTING")
	r.Connection("b", "CONNECTING", "READY")
	r.Connection("b", "", "READY")
	r.Connection("b", "READY", "")
	requireMetric(t, r, "rpc_client_connections", `{state="IDLE",target="b"} 0`, `{state="CONNECTING",target="b"} 0`,
		`{state="READY",target="b"} 1`, `{state="TRANSIENT_FAILURE",target="b"} 0`)
}

// However many names there are, and whoever asks for them at once, the series are bounded and no call is lost.
func TestTargetsAreBounded(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{})
	const callers, names = 4, 1500
	done := make(chan struct{})
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range names {
				_, call := r.Client(context.Background(), "b", strconv.Itoa(i))
				call.End(nil)
			}
		}()
	}
	for range callers {
		<-done
	}
	series, err := testutil.GatherAndCount(r.Registry(), "rpc_client_calls_total")
	require.NoError(t, err)
	require.Equal(t, 1001, series)
	families, err := r.Registry().Gather()
	require.NoError(t, err)
	var calls float64
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == "rpc_client_calls_total" {
				calls += metric.GetCounter().GetValue()
			}
		}
	}
	assert.InDelta(t, callers*names, calls, 0)
}

func TestProcessAndBuildMetrics(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{})
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "go_build_info"} {
		n, err := testutil.GatherAndCount(r.Registry(), name)
		require.NoError(t, err)
		assert.Equal(t, 1, n, name)
	}
}
