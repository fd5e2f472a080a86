package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// NewLogger returns a logger that writes a line of JSON per record when format is "json", and one of key=value pairs
// when it is empty or "text". Anything that looks personal or secret is taken out of every line. The level is one of
// Micro's: trace, debug, info, warn, error or fatal; empty is info.
func NewLogger(out io.Writer, format, level string) (*slog.Logger, error) {
	at := logger.InfoLevel
	if level != "" {
		var err error
		if at, err = logger.GetLevel(level); err != nil {
			return nil, fmt.Errorf("MICRO_LOG_LEVEL: expected trace, debug, info, warn, error or fatal")
		}
	}
	options := &slog.HandlerOptions{Level: levels[at]}
	switch format {
	case "json":
		return slog.New(redactor{slog.NewJSONHandler(out, options)}), nil
	case "", "text":
		return slog.New(redactor{slog.NewTextHandler(out, options)}), nil
	}
	return nil, fmt.Errorf("MICRO_LOG_FORMAT: expected json or text")
}

// levels are Micro's levels in slog.
var levels = map[logger.Level]slog.Level{
	logger.TraceLevel: slog.LevelDebug - 4,
	logger.DebugLevel: slog.LevelDebug,
	logger.InfoLevel:  slog.LevelInfo,
	logger.WarnLevel:  slog.LevelWarn,
	logger.ErrorLevel: slog.LevelError,
	logger.FatalLevel: slog.LevelError + 4,
}

// MicroLogger is a logger of Micro's that writes to another one.
type MicroLogger struct {
	inner *slog.Logger
	often *often // nil when a line of Often is as any other
	flush func()
}

// NewMicroLogger returns a logger for Micro to write to.
func NewMicroLogger(inner *slog.Logger) *MicroLogger {
	return &MicroLogger{inner: inner, flush: func() {}}
}

// NewProcessLog returns the logger of a process that writes to out in the format and from the level on that NewLogger knows,
// and one for Micro, which names the service in each line and keeps the lines of Often for a moment; see Output.
func NewProcessLog(out io.Writer, format, level, service string) (*slog.Logger, *MicroLogger, error) {
	micro := new(MicroLogger)
	output := NewOutput(out, func(lines int) {
		micro.inner.Warn("The log is read too slowly, lines were lost", "lines", lines)
	})
	log, err := NewLogger(output, format, level)
	if err != nil {
		return nil, nil, err
	}
	// It has a lock of its own, under which nothing blocks.
	if micro.often, err = newOften(output.Later(), format, level, service); err != nil {
		return nil, nil, err
	}
	micro.inner, micro.flush = log.With("service", service), output.Flush
	return log, micro, nil
}

// Slog is the logger that it writes to.
func (m *MicroLogger) Slog() *slog.Logger { return m.inner }

// Init does nothing: format and level are the logger's.
func (m *MicroLogger) Init(...logger.Option) error { return nil }

// Options tells Micro the level, by which it decides what to prepare for a log.
func (m *MicroLogger) Options() logger.Options {
	for l := logger.TraceLevel; l < logger.FatalLevel; l++ {
		if m.inner.Enabled(context.Background(), levels[l]) {
			return logger.Options{Level: l}
		}
	}
	return logger.Options{Level: logger.FatalLevel}
}

// Fields returns a logger whose lines have the fields.
func (m *MicroLogger) Fields(fields map[string]any) logger.Logger {
	with := m.inner
	for k, v := range fields {
		with = with.With(k, v)
	}
	return NewMicroLogger(with)
}

// Log writes a line.
func (m *MicroLogger) Log(level logger.Level, v ...any) {
	if l := levels[level]; m.inner.Enabled(context.Background(), l) {
		write(m.inner, l, fmt.Sprint(v...))
	}
}

// handlerFailed is what Micro's server says of each call that fails, whatever the code: at the level of an error, and
// with words that may be the caller's.
const handlerFailed = "grpc handler got error: %s"

// Logf writes a line, unless it is about a call: that one has a line already.
func (m *MicroLogger) Logf(level logger.Level, format string, v ...any) {
	if l := levels[level]; format != handlerFailed && m.inner.Enabled(context.Background(), l) {
		write(m.inner, l, fmt.Sprintf(format, v...))
	}
}

// Often writes a line of which there are very many, in the same format, and may keep it for a moment: see Output.
func (m *MicroLogger) Often(level logger.Level, text string) {
	l := levels[level]
	switch {
	case !m.inner.Enabled(context.Background(), l):
	case m.often == nil:
		write(m.inner, l, text)
	default:
		m.often.write(time.Now(), l, strings.TrimSpace(text))
	}
}

// Flush writes the lines that are kept.
func (m *MicroLogger) Flush() { m.flush() }

// write writes a line without looking for the place in the code that it comes from, which no line has.
func write(to *slog.Logger, level slog.Level, text string) {
	r := slog.NewRecord(time.Now(), level, strings.TrimSpace(text), 0)
	_ = to.Handler().Handle(context.Background(), r) // as slog itself does
}

// String is the logger's name.
func (m *MicroLogger) String() string { return "slog" }
