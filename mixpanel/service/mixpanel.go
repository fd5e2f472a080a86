// Package service is the core of mixpanel: its types, rules and storage. It knows no RPC; its errors are those of pkg/errors.
package service

import (
	"context"
	"log/slog"
	"time"
)

// Config is what New needs. The zero value is complete.
type Config struct {
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
	// Log is where it is told what would be forwarded; slog.Default() when nil.
	Log *slog.Logger
}

// Mixpanel is the service without its RPCs. It may be used by many goroutines at once.
type Mixpanel struct {
	clock func() time.Time
	log   *slog.Logger
}

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Mixpanel, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Mixpanel{clock: cfg.Clock, log: cfg.Log}, nil
}

// Now returns the present time in UTC.
func (c *Mixpanel) Now(context.Context) (time.Time, error) { return c.clock().UTC(), nil }
