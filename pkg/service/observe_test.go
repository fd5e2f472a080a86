package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/server"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/pkg/service/telemetry"
)

// logged is a log that many goroutines write to.
type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// Write writes a line.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// lines takes what was written.
func (l *logged) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []map[string]any
	for decoder := json.NewDecoder(&l.out); decoder.More(); {
		var line map[string]any
		require.NoError(t, decoder.Decode(&line))
		lines = append(lines, line)
	}
	return lines
}

func recorder(t *testing.T, provider *sdk.TracerProvider) (*telemetry.Recorder, *logged) {
	t.Helper()
	out := new(logged)
	log, err := telemetry.NewLogger(out, "json", "info")
	require.NoError(t, err)
	cfg := telemetry.Config{Log: log, Slow: time.Hour}
	if provider != nil {
		cfg.Tracer = provider.Tracer("test")
	}
	return telemetry.New(cfg), out
}

// Whatever goes wrong with a call, it is counted by its code and has one line, in which there is nothing personal.
func TestFailedCallsAreRecordedOnce(t *testing.T) {
	t.Parallel()
	r, out := recorder(t, nil)
	c := servicetest.Serve(t, "shaper", func(s server.Server) error {
		return pb.RegisterShapesHandler(s, &shapes{seen: make(chan struct{}, 100)})
	}, service.WithRecorder(r))
	fail := func(how string) func() error {
		return func() error {
			_, err := pb.NewShapesService("shaper", c).Fail(t.Context(), &pb.FailRequest{How: how})
			return err
		}
	}
	body := func(c *servicetest.Client, endpoint, body string) func() error {
		return func() error {
			_, err := c.JSON(t.Context(), endpoint, body)
			return err
		}
	}
	for name, tc := range map[string]struct {
		call     func() error
		endpoint string
		code     int
		level    string
		cause    string
	}{
		"invalid":       {fail("invalid"), "Shapes.Fail", 400, "INFO", ""},
		"other service": {fail("micro"), "Shapes.Fail", 403, "INFO", ""},
		"plain":         {fail("plain"), "Shapes.Fail", 500, "ERROR", "10.0.0.1 is down, said [redacted]"},
		"panic":         {fail("panic"), "Shapes.Fail", 500, "ERROR", "panic with a value of type string"},
		"index":         {fail("index"), "Shapes.Fail", 500, "ERROR", "panic: runtime error: index out of range"},
		"client":        {fail("client"), "Shapes.Fail", 500, "ERROR", "dial 10.0.0.1: refused"},
		"downstream":    {fail("downstream"), "Shapes.Fail", 504, "ERROR", "call: context deadline exceeded"},
		"field":         {body(c, "Shapes.Echo", `{"shape": {"number": "`+secret+`"}}`), "Shapes.Echo", 400, "INFO", ""},
		"unknown field": {body(c, "Shapes.Echo", `{"`+secret+`": 1}`), "Shapes.Echo", 400, "INFO", ""},
		"no JSON":       {body(c, "Shapes.Echo", secret), "Shapes.Echo", 400, "INFO", ""},
		"no endpoint":   {body(c, "Shapes.jane@example", `{}`), "unknown", 404, "INFO", ""},
		"bad token":     {body(c.With("Bearer "+secret), "Shapes.Echo", `{}`), "Shapes.Echo", 401, "INFO", ""},
		"not a token":   {body(c.With(secret), "Shapes.Echo", `{}`), "Shapes.Echo", 401, "INFO", ""},
	} {
		require.Error(t, tc.call(), name)
		got := out.lines(t)
		require.Len(t, got, 1, name)
		line := got[0]
		assert.Equal(t, "shaper", line["service"], name)
		assert.Equal(t, tc.endpoint, line["endpoint"], name)
		assert.EqualValues(t, tc.code, line["code"], name)
		assert.Equal(t, tc.level, line["level"], name)
		assert.Regexp(t, "^[0-9a-f]{32}$", line["trace"], name)
		if tc.cause == "" {
			assert.NotContains(t, line, "cause", name)
		} else {
			assert.Contains(t, line["cause"], tc.cause, name)
		}
		text := fmt.Sprint(line)
		for _, personal := range []string{"jane", "s3cr3t", "example.com"} {
			assert.NotContains(t, text, personal, name)
		}
	}
	_, err := c.JSON(t.Context(), "Shapes.Echo", `{}`)
	require.NoError(t, err)
	require.Empty(t, out.lines(t), "a call that went well is not worth a line")
	count := func(name string) int {
		n, err := testutil.GatherAndCount(r.Registry(), name)
		require.NoError(t, err)
		return n
	}
	// Each of the six endpoints and "unknown" has a series for success; Fail 400, 403, 500, 504; Echo 400, 401; unknown 404.
	methods := pb.File_pkg_internal_testproto_testproto_proto.Services().ByName("Shapes").Methods().Len()
	assert.Equal(t, methods+1+4+2+1, count("rpc_server_calls_total"))
	assert.Equal(t, methods+1, count("rpc_server_in_flight"))
}

// asker is a service that asks another one.
type asker struct {
	shapes
	other pb.ShapesService
}

func (a *asker) Echo(ctx context.Context, req *pb.EchoRequest, rsp *pb.EchoResponse) error {
	answer, err := a.other.Echo(ctx, req)
	if err != nil {
		return err
	}
	rsp.Shape = answer.Shape
	return nil
}

func TestOneTraceAcrossServices(t *testing.T) {
	t.Parallel()
	for name, tracing := range map[string]bool{"with spans": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewInMemoryExporter()
			var provider *sdk.TracerProvider
			if tracing {
				provider = sdk.NewTracerProvider(sdk.WithSyncer(spans))
			}
			behind, behindLog := recorder(t, provider)
			second := servicetest.Serve(t, "second", func(s server.Server) error {
				return pb.RegisterShapesHandler(s, &shapes{seen: make(chan struct{}, 100)})
			}, service.WithRecorder(behind))
			before, beforeLog := recorder(t, provider)
			first := servicetest.Serve(t, "first", func(s server.Server) error {
				return pb.RegisterShapesHandler(s, &asker{other: pb.NewShapesService("second", before.WrapClient(second.With("x")))})
			}, service.WithRecorder(before))

			const id = "0af7651916cd43dd8448eb211c80319c"
			conn, err := grpc.NewClient(first.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, conn.Close()) })
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+id+"-b7ad6b7169203331-01")
			require.Error(t, conn.Invoke(ctx, "/first.Shapes/Echo", &pb.EchoRequest{}, &pb.EchoResponse{}), "the token is none")

			for _, log := range []*logged{behindLog, beforeLog} {
				got := log.lines(t)
				require.Len(t, got, 1)
				require.Equal(t, id, got[0]["trace"])
			}
			if !tracing {
				return
			}
			var got []string
			parent := "b7ad6b7169203331"
			ended := spans.GetSpans()
			for i := range ended { // they end in the reverse of the order they begin in
				s := ended[len(ended)-1-i]
				require.Equal(t, id, s.SpanContext.TraceID().String())
				require.Equal(t, parent, s.Parent.SpanID().String())
				parent = s.SpanContext.SpanID().String()
				got = append(got, s.SpanKind.String()+" "+s.Name)
			}
			require.Equal(t, []string{"server first/Shapes.Echo", "client second/Shapes.Echo", "server second/Shapes.Echo"}, got)
		})
	}
}

// get asks the operators' server of a process.
func get(t *testing.T, address, path string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	require.NoError(t, err)
	rsp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer rsp.Body.Close()
	text, err := io.ReadAll(rsp.Body)
	require.NoError(t, err)
	return rsp.StatusCode, string(text)
}

// A process is observed from its start to its end: ready, not ready while it drains, its spans exported when it goes.
func TestProcessIsObserved(t *testing.T) {
	t.Parallel()
	exported := make(chan *collector.ExportTraceServiceRequest, 10)
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		request := new(collector.ExportTraceServiceRequest)
		assert.NoError(t, proto.Unmarshal(body, request))
		exported <- request
	}))
	t.Cleanup(otlp.Close)

	p := start(t, "check", "OTEL_EXPORTER_OTLP_ENDPOINT="+otlp.URL, "MICRO_METRICS_ADDRESS=127.0.0.1:0", "MICRO_LOG_FORMAT=json")
	serves := strings.Fields(strings.TrimRight(p.line(t, "shaper serves at "), `"}`))
	address, operators := serves[0], strings.Trim(serves[len(serves)-1], `",`)
	operators, _, _ = strings.Cut(operators, `"`)
	code, body := get(t, operators, "/readyz")
	require.Equal(t, 200, code, body)
	code, _ = get(t, operators, "/healthz")
	require.Equal(t, 200, code)
	code, _ = get(t, operators, "/debug/pprof/heap")
	require.Equal(t, 401, code)

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	answered := make(chan error, 1)
	go func() {
		answered <- conn.Invoke(context.Background(), "/shaper.Shapes/Echo", &pb.EchoRequest{}, &pb.EchoResponse{})
	}()
	p.line(t, "inside")
	_, body = get(t, operators, "/metrics")
	require.Contains(t, body, `rpc_server_in_flight{endpoint="Shapes.Echo",service="shaper"} 1`)

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		code, body = get(t, operators, "/readyz")
		return code == 503 && strings.Contains(body, `"draining"`)
	}, 5*time.Second, 10*time.Millisecond)
	code, _ = get(t, operators, "/healthz")
	require.Equal(t, 200, code, "it is alive as long as it works")
	require.NoError(t, <-answered)
	for range p.lines { // so that nothing holds it up
	}
	status, _ := p.end(t)
	require.Equal(t, 0, status)

	var names []string
	for len(exported) > 0 {
		for _, resource := range (<-exported).GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					names = append(names, span.GetName())
				}
			}
		}
	}
	require.Contains(t, names, "shaper/Shapes.Echo")
}

// A check that fails is told by its name.
func TestProcessThatIsNotReady(t *testing.T) {
	t.Parallel()
	p := start(t, "not ready")
	_, operators, _ := strings.Cut(p.line(t, "shaper serves at "), "has its metrics at ")
	operators, _, _ = strings.Cut(operators, `"`)
	code, body := get(t, operators, "/readyz")
	require.Equal(t, 503, code)
	require.JSONEq(t, `{"status": "not ready", "service": "shaper", "failing": ["database"]}`, body)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	status, _ := p.end(t)
	require.Equal(t, 0, status)
}

// The connections of a process are among its metrics.
func TestConnectionsAreObserved(t *testing.T) {
	t.Parallel()
	p := start(t, "calls")
	_, operators, _ := strings.Cut(p.line(t, "shaper serves at "), "has its metrics at ")
	operators, _, _ = strings.Cut(operators, `"`)
	require.Eventually(t, func() bool {
		code, _ := get(t, operators, "/readyz") // it calls itself to say so
		_, body := get(t, operators, "/metrics")
		return code == 200 &&
			strings.Contains(body, `rpc_client_connections{state="READY",target="shaper"} 1`) &&
			strings.Contains(body, `rpc_client_connections{state="CONNECTING",target="shaper"} 0`)
	}, 10*time.Second, 50*time.Millisecond, "the connection is not among the metrics, or not as ready")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	code, _ := p.end(t)
	require.Equal(t, 0, code)
}

// Neither we nor Micro nor a library writes anything personal, and a call that fails has one line of the whole process.
func TestNothingPersonalIsWritten(t *testing.T) {
	t.Parallel()
	p := start(t, "errors", "MICRO_LOG_LEVEL=debug")
	address, _, _ := strings.Cut(p.line(t, "shaper serves at "), " ")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	failed := 0
	call := func(ctx context.Context, path string, req proto.Message) {
		require.Error(t, conn.Invoke(ctx, path, req, &pb.FailResponse{}), path)
		failed++
	}
	for _, how := range []string{"invalid", "plain", "micro", "client", "reply", "downstream", "panic", "index"} {
		call(t.Context(), "/shaper.Shapes/Fail", &pb.FailRequest{How: how})
	}
	call(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic "+secret), "/shaper.Shapes/Fail", &pb.FailRequest{})
	call(metadata.AppendToOutgoingContext(t.Context(), "traceparent", secret), "/shaper.Shapes/Fail", &pb.FailRequest{How: "plain"})
	call(t.Context(), "/shaper.Shapes/"+secret, &pb.FailRequest{})
	call(t.Context(), "/"+secret+"/Fail", &pb.FailRequest{})

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	lines := 0
	for line := range p.lines {
		for _, personal := range []string{"jane", "s3cr3t", "example.com"} {
			require.NotContains(t, line, personal)
		}
		if strings.Contains(line, `msg="call failed"`) {
			lines++
		} else {
			require.NotContains(t, line, "level=ERROR", "a call that fails is no line of somebody else's")
		}
	}
	require.Equal(t, failed, lines)
	code, _ := p.end(t)
	require.Equal(t, 0, code)
}
