package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A line is what slog makes of it, whichever way it takes, whenever it comes.
func TestOftenIsAsSlog(t *testing.T) {
	t.Parallel()
	parts := rapid.SampledFrom([]string{
		"request", " ", "=", `"`, `\`, "\n", "\x7f", "é", "\xff", "jane@example.com", "status=200", "password=hunter2", "\u2028",
	})
	zone := time.FixedZone("", 2*60*60+30*60)
	rapid.Check(t, func(r *rapid.T) {
		format := rapid.SampledFrom([]string{"", "text", "json"}).Draw(r, "format")
		service := rapid.SampledFrom([]string{"api", "my service", "", `a"b`, "é", "a@b"}).Draw(r, "service")
		in := rapid.SampledFrom([]*time.Location{time.UTC, zone}).Draw(r, "zone")
		var got, want bytes.Buffer
		o, err := newOften(&got, format, "trace", service)
		require.NoError(r, err)
		log, err := NewLogger(&want, format, "trace")
		require.NoError(r, err)
		at := time.Unix(rapid.Int64Range(0, 1<<32).Draw(r, "second"), 0).In(in)
		for range rapid.IntRange(1, 4).Draw(r, "lines") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(r, "after")))
			level := levels[rapid.SampledFrom([]logger.Level{logger.TraceLevel, logger.InfoLevel, logger.FatalLevel}).Draw(r, "level")]
			text := ""
			for range rapid.IntRange(0, 6).Draw(r, "parts") {
				text += parts.Draw(r, "part")
			}
			o.write(at, level, text)
			record := slog.NewRecord(at, level, text, 0)
			require.NoError(r, log.With("service", service).Handler().Handle(context.Background(), record))
		}
		require.Equal(r, want.String(), got.String())
	})
}

func BenchmarkOften(b *testing.B) {
	const line = `request method="POST" path="/customers/Read" status=200 bytes=81 duration_ms=0.014 remote=127.0.0.1 id=XMCBGNREXBJX2IWLLLXXEKKR6`
	o, err := newOften(io.Discard, "", "", "api")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		o.write(time.Now(), slog.LevelInfo, line)
	}
}

func BenchmarkSlog(b *testing.B) {
	const line = `request method="POST" path="/customers/Read" status=200 bytes=81 duration_ms=0.014 remote=127.0.0.1 id=XMCBGNREXBJX2IWLLLXXEKKR6`
	log, err := NewLogger(io.Discard, "", "")
	require.NoError(b, err)
	log = log.With("service", "api")
	b.ReportAllocs()
	for b.Loop() {
		write(log, slog.LevelInfo, line)
	}
}
