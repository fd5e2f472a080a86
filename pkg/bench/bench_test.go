package bench_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/bench"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	figures := []float64{9, 1, 5}
	require.InDelta(t, 5, bench.Median(figures), 0)
	require.Equal(t, []float64{9, 1, 5}, figures, "the caller's figures keep their order")
	require.InDelta(t, 3, bench.Median([]float64{1, 2, 4, 100}), 0)
}

func TestInterleaveTakesTurns(t *testing.T) {
	t.Parallel()
	var order string
	side := func(name string, figures ...float64) bench.Side {
		return func(context.Context) (float64, error) {
			order += name
			figure := figures[0]
			figures = figures[1:]
			return figure, nil
		}
	}
	medians, err := bench.Interleave(t.Context(), 3, side("a", 1000, 1, 3, 2), side("b", 1000, 10, 30, 20))
	require.NoError(t, err)
	require.Equal(t, []float64{2, 20}, medians, "the first, cold round does not count")
	require.Equal(t, "baabbaab", order)
}

func TestInterleaveStopsAtAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, err := bench.Interleave(t.Context(), 3, func(context.Context) (float64, error) { return 0, broken })
	require.ErrorIs(t, err, broken)
	_, err = bench.Interleave(t.Context(), 0)
	require.Error(t, err)
}

func TestReport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	report := bench.NewReport(&out, "calls")
	report.AtLeast("against-stock", 31.25, "x", 30)
	report.AtMost("memory", 99.5, "MiB", 100)
	report.Figure("stock", 650.4, "calls/s")
	require.Equal(t, 0, report.ExitCode())

	report.AtLeast("against grpc", 0.6999, "x", 0.7)
	report.AtMost("latency", 10.04, "ms", 10)
	report.AtLeast("broken", math.NaN(), "x", 1)
	require.Equal(t, 1, report.ExitCode())
	require.Equal(t, `BENCH calls/against-stock value=31.25 unit=x bar=30 ok
BENCH calls/memory value=99.5 unit=MiB bar=100 ok
BENCH calls/stock value=650.4 unit=calls/s bar=none ok
BENCH calls/against-grpc value=0.6999 unit=x bar=0.7 SHORT
BENCH calls/latency value=10.04 unit=ms bar=10 SHORT
BENCH calls/broken value=NaN unit=x bar=1 SHORT
`, out.String())
}
