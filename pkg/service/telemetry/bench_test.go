package telemetry_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/metadata"

	"github.com/m3o/backend/pkg/service/telemetry"
)

// maxAllocs is what recording may cost a call that is answered.
const maxAllocs = 2

func BenchmarkTelemetry(b *testing.B) {
	log, err := telemetry.NewLogger(io.Discard, "json", "info")
	require.NoError(b, err)
	off := telemetry.New(telemetry.Config{Log: log})
	provider := sdk.NewTracerProvider(sdk.WithBatcher(tracetest.NewNoopExporter()))
	b.Cleanup(func() { require.NoError(b, provider.Shutdown(context.Background())) })
	on := telemetry.New(telemetry.Config{Log: log, Tracer: provider.Tracer("bench")})
	traced := metadata.NewIncomingContext(b.Context(), metadata.Pairs(telemetry.Header, "00-"+someTrace+"-"+someSpan+"-01"))

	for name, r := range map[string]*telemetry.Recorder{"off": off, "tracing": on} {
		m := r.Method("a", "A.B", false)
		b.Run("server/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call := m.Begin(b.Context())
				call.By(telemetry.Caller{Kind: "customer"})
				call.End(200)
			}
		})
		b.Run("server with a trace/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Begin(traced).End(200)
			}
		})
		b.Run("server refuses/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Begin(b.Context()).End(429)
			}
		})
		b.Run("client/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, call := r.Client(b.Context(), "b", "B.C")
				_ = call.Traceparent()
				call.End(nil)
			}
		})
	}
	m := off.Method("a", "A.B", false)
	b.Run("server/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.Begin(b.Context()).End(200)
			}
		})
	})
}

func TestRecordingIsCheap(t *testing.T) {
	r := telemetry.New(telemetry.Config{})
	m := r.Method("a", "A.B", false)
	traced := metadata.NewIncomingContext(t.Context(), metadata.Pairs(telemetry.Header, "00-"+someTrace+"-"+someSpan+"-01"))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { m.Begin(traced).End(200) }), float64(maxAllocs))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		_, call := r.Client(t.Context(), "b", "B.C")
		_ = call.Traceparent()
		call.End(nil)
	}), float64(maxAllocs))
}
