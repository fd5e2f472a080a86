package telemetry_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/telemetry"
)

func TestTracingIsOffByDefault(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tracing, err := telemetry.StartTracing(t.Context(), "a", "latest", discard(t))
	require.NoError(t, err)
	require.Nil(t, tracing.Tracer())
	tracing.Stop()
}

func TestWrongEndpoints(t *testing.T) {
	for _, value := range []string{"127.0.0.1:4318", "localhost", "grpc://127.0.0.1:4317", "http://", "http://%"} {
		for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
			t.Run(name+" "+value, func(t *testing.T) {
				t.Setenv(name, value)
				_, err := telemetry.StartTracing(t.Context(), "a", "latest", discard(t))
				require.ErrorContains(t, err, name+": expected a URL")
			})
		}
	}
}

// A collector that is away holds up neither a call nor the end for long.
func TestCollectorThatIsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) }) // it takes connections, and answers none
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+listener.Addr().String()+"/v1/traces")
	log, lines := jsonLog(t, "warn")
	tracing, err := telemetry.StartTracing(t.Context(), "a", "latest", log)
	require.NoError(t, err)
	m := telemetry.New(telemetry.Config{Log: log, Tracer: tracing.Tracer()}).Method("a", "A.B", false)
	began := time.Now()
	for range 5000 {
		m.Begin(t.Context()).End(200)
	}
	require.Less(t, time.Since(began), 2*time.Second)
	began = time.Now()
	tracing.Stop()
	require.Less(t, time.Since(began), 5*time.Second)
	got := lines()
	require.NotEmpty(t, got, "the loss is told")
}
