package telemetry_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/service/telemetry"
)

const someTrace, someSpan = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

// oracle reads a header as OpenTelemetry does.
func oracle(t *testing.T, header string) trace.SpanContext {
	t.Helper()
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{telemetry.Header: header})
	return trace.SpanContextFromContext(ctx)
}

func FuzzParse(f *testing.F) {
	good := "00-" + someTrace + "-" + someSpan + "-01"
	for _, header := range []string{
		"", good, good + "-", good + "-x", good + "x", strings.ToUpper(good), "01" + good[2:], "01" + good[2:] + "-later",
		"ff" + good[2:], "0g" + good[2:], good[:54], good[:53] + "00", good[:53] + "ff", good[:53] + "0x",
		"00-" + strings.Repeat("0", 32) + "-" + someSpan + "-01", "00-" + someTrace + "-" + strings.Repeat("0", 16) + "-01",
		"00_" + good[3:], good[:35] + "_" + good[36:], good[:52] + "_" + good[53:],
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := telemetry.Parse(header)
		assert.Equal(t, got.IsValid(), ok)
		// Two things OpenTelemetry sees otherwise than the standard: flags of version 00 without a meaning are to be
		// ignored, and that version has nothing after them.
		first := strings.HasPrefix(header, "00")
		if want := oracle(t, header); !first || ok == want.IsValid() {
			assert.True(t, want.Equal(got), "%q: %+v, expected %+v", header, got, want)
		} else if ok {
			assert.Greater(t, header[53:], "03")
		} else {
			assert.Equal(t, "-", header[55:])
		}
		if ok {
			again, _ := telemetry.Parse(telemetry.Format(got))
			assert.True(t, got.Equal(again))
		}
	})
}

func TestFormatIsParsed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sc := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID:    [16]byte(append(rapid.SliceOfN(rapid.Byte(), 15, 15).Draw(rt, "trace"), 1)),
			SpanID:     [8]byte(append(rapid.SliceOfN(rapid.Byte(), 7, 7).Draw(rt, "span"), 1)),
			TraceFlags: trace.TraceFlags(rapid.IntRange(0, 3).Draw(rt, "flags")),
			Remote:     true,
		})
		header := telemetry.Format(sc)
		got, ok := telemetry.Parse(header)
		require.True(rt, ok, header)
		require.True(rt, sc.Equal(got))
		require.True(rt, sc.Equal(oracle(t, header)))
	})
}

// Without a collector a trace has an id all the same, and the caller's header goes on as it came.
func TestTraceWithoutSpans(t *testing.T) {
	t.Parallel()
	r := telemetry.New(telemetry.Config{})
	header := "00-" + someTrace + "-" + someSpan + "-01"
	for name, tc := range map[string]struct {
		sent []string
		kept bool
	}{
		"none":      {nil, false},
		"good":      {[]string{header}, true},
		"not good":  {[]string{"00-" + someTrace}, false},
		"ambiguous": {[]string{header, header}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{telemetry.Header: tc.sent})
			call := r.Method("a", "A.B", false).Begin(ctx)
			defer call.End(200)
			id := telemetry.TraceID(call)
			require.Regexp(t, "^[0-9a-f]{32}$", id)
			_, out := r.Client(call, "b", "B.C")
			out.End(nil)
			sent, ok := telemetry.Parse(out.Traceparent())
			require.True(t, ok)
			require.Equal(t, id, sent.TraceID().String())
			if tc.kept {
				require.Equal(t, header, out.Traceparent())
			} else {
				require.NotEqual(t, someTrace, id)
				require.False(t, sent.IsSampled())
			}
		})
	}
	require.Empty(t, telemetry.TraceID(t.Context()), "outside of a call there is no trace")
	_, out := r.Client(t.Context(), "b", "B.C")
	out.End(nil)
	_, ok := telemetry.Parse(out.Traceparent())
	require.True(t, ok, "a call from nowhere begins one")
}
