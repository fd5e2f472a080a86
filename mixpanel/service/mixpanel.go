// Package mixpanel is the core of the service: its types, rules and storage. It knows no RPC.
package mixpanel

import (
	"context"
	"time"
)

// Config is what a Core needs. The zero value is complete.
type Config struct {
	// Clock tells the time; time.Now where it is nil.
	Clock func() time.Time
}

// Core is the service without its RPCs. It is safe for concurrent use.
type Core struct{ clock func() time.Time }

// New returns a core.
func New(cfg Config) (*Core, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Core{clock: cfg.Clock}, nil
}

// Now returns the present time in UTC.
func (c *Core) Now(context.Context) (time.Time, error) { return c.clock().UTC(), nil }
