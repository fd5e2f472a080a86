package jetstream

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/micro/micro/v3/service/logger"
)

// log is the log of the NATS server: what is a warning or worse goes to ours.
type log struct {
	// quiet is while the server is being shut down, when it has much to say about that.
	quiet atomic.Bool
}

// Noticef implements server.Logger.
func (*log) Noticef(string, ...any) {}

// Debugf implements server.Logger.
func (*log) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (*log) Tracef(string, ...any) {}

// Warnf implements server.Logger.
func (l *log) Warnf(format string, args ...any) { l.say(logger.WarnLevel, format, args) }

// Errorf implements server.Logger.
func (l *log) Errorf(format string, args ...any) { l.say(logger.ErrorLevel, format, args) }

// Fatalf implements server.Logger; Open finds that the server does not start.
func (l *log) Fatalf(format string, args ...any) { l.say(logger.ErrorLevel, format, args) }

func (l *log) say(level logger.Level, format string, args []any) {
	if l.quiet.Load() {
		return
	}
	logger.Logf(level, "NATS: %s", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
