package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// often writes lines of one service that have a message and nothing else, as NewLogger's logger does. Of those that go the
// usual way, as text and without anything to look closer at, it makes the line itself: several times as fast.
type often struct {
	*slog.Logger
	out io.Writer
	end string // of a line as text; empty when lines are JSON

	mu     sync.Mutex
	line   []byte
	second int64  // that stamp is of
	stamp  []byte // the time up to its second
	zone   []byte // what follows its milliseconds
}

func newOften(out io.Writer, format, level, service string) (*often, error) {
	log, err := NewLogger(out, format, level)
	if err != nil {
		return nil, err
	}
	o := &often{Logger: log.With("service", service), out: out}
	if format == "json" {
		return o, nil
	}
	var example strings.Builder
	if log, err = NewLogger(&example, format, level); err != nil {
		return nil, err
	}
	write(log.With("service", service), slog.LevelInfo, "x")
	_, o.end, _ = strings.Cut(example.String(), " msg=x")
	return o, nil
}

// write writes a line, whose level has been looked at.
func (o *often) write(now time.Time, level slog.Level, text string) {
	// What has a space is quoted, and what is plain needs but a backslash before some of it.
	if o.end == "" || !strings.Contains(text, " ") || !isPlain(text) || suspicious(text) {
		r := slog.NewRecord(now, level, text, 0)
		_ = o.Handler().Handle(context.Background(), r) // as slog itself does
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if second := now.Unix(); second != o.second || o.stamp == nil {
		o.second = second
		o.stamp = now.AppendFormat(o.stamp[:0], "time=2006-01-02T15:04:05.")
		o.zone = now.AppendFormat(o.zone[:0], "Z07:00 level=")
	}
	milliseconds := now.Nanosecond() / int(time.Millisecond)
	b := append(o.line[:0], o.stamp...)
	b = append(b, byte('0'+milliseconds/100), byte('0'+milliseconds/10%10), byte('0'+milliseconds%10))
	b = append(append(b, o.zone...), level.String()...)
	b = append(b, ` msg="`...)
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, text[i])
	}
	o.line = append(append(b, '"'), o.end...)
	_, _ = o.out.Write(o.line)
}

// isPlain tells whether all of a text is ASCII that can be printed.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
