// Package handler answers the RPCs of mixpanel: it checks what is about the request alone, calls the core, and translates the
// answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"context"
	"errors"
	"time"

	pb "github.com/m3o/backend/mixpanel/proto"
	"github.com/m3o/backend/mixpanel/service"
)

// Core is what the handlers need of the core.
type Core interface {
	Now(ctx context.Context) (time.Time, error)
	Status(ctx context.Context) (service.Status, error)
}

// Config is what New needs.
type Config struct {
	// Core does what the service is for.
	Core Core
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.Core == nil {
		return errors.New("mixpanel: the core is missing")
	}
	return nil
}

// Mixpanel handles the RPCs of the proto service of that name.
type Mixpanel struct{ core Core }

var _ pb.MixpanelHandler = (*Mixpanel)(nil)

// New returns the handlers, or an error when the configuration is not valid.
func New(cfg Config) (*Mixpanel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Mixpanel{core: cfg.Core}, nil
}
