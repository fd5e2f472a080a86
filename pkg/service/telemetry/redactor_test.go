package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/telemetry"
)

type lazy string

func (l lazy) LogValue() slog.Value { return slog.StringValue(string(l)) }

// Wherever in a line it stands, and however it got there.
func TestRedactedEverywhere(t *testing.T) {
	t.Parallel()
	const address = "jane@example.com"
	for name, write := range map[string]func(*slog.Logger){
		"message":       func(l *slog.Logger) { l.Info("to " + address) },
		"attribute":     func(l *slog.Logger) { l.Info("a", "b", address) },
		"error":         func(l *slog.Logger) { l.Info("a", "b", errors.New(address)) },
		"any":           func(l *slog.Logger) { l.Info("a", "b", []string{address}) },
		"lazy":          func(l *slog.Logger) { l.Info("a", "b", lazy(address)) },
		"group":         func(l *slog.Logger) { l.Info("a", slog.Group("b", slog.Group("c", "d", address))) },
		"with":          func(l *slog.Logger) { l.With("b", address).Info("a") },
		"with in group": func(l *slog.Logger) { l.WithGroup("b").With("c", lazy(address)).Info("a", "d", address) },
	} {
		for _, format := range []string{"text", "json"} {
			t.Run(name+" "+format, func(t *testing.T) {
				t.Parallel()
				var out buffer
				log, err := telemetry.NewLogger(&out, format, "")
				require.NoError(t, err)
				require.False(t, log.Enabled(context.Background(), slog.LevelDebug))
				write(log)
				require.NotContains(t, out.out.String(), "jane")
				require.Contains(t, out.out.String(), "[redacted]")
			})
		}
	}
}
