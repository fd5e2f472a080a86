// Package handler answers the RPCs of billing: it checks what is about the request alone, calls the core, and translates
// the answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"errors"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

// Core is what the handlers need of the core.
type Core interface {
	Tiers() []service.Tier
}

// Config is what New needs.
type Config struct {
	// Core knows what there is to buy.
	Core Core
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.Core == nil {
		return errors.New("billing: the core is missing")
	}
	return nil
}

// Billing handles the RPCs of the proto service of that name.
type Billing struct{ core Core }

var _ pb.BillingHandler = (*Billing)(nil)

// New returns the handlers, or an error when the configuration is not valid.
func New(cfg Config) (*Billing, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Billing{core: cfg.Core}, nil
}
