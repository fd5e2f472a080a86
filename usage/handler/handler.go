// Package handler answers the RPCs of usage: it checks what is about the request alone, calls the core, and translates
// the answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"context"
	"errors"

	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
)

// Core is what the handlers need of the core.
type Core interface {
	Record(ctx context.Context, batchID string, requests []service.Request) (service.Recorded, error)
	MonthlyTotal(ctx context.Context, customerID string, detail bool) (service.Total, error)
	Monthly(ctx context.Context, customerID string, endpoints []string) (service.Monthly, error)
	Read(ctx context.Context, q service.Query) (service.Report, error)
	SetQuota(ctx context.Context, customerID string, override *service.Override) (service.Allowed, error)
}

// Config is what New needs.
type Config struct {
	// Core knows what was counted.
	Core Core
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.Core == nil {
		return errors.New("usage: the core is missing")
	}
	return nil
}

// Usage handles the RPCs of the proto service of that name.
type Usage struct{ core Core }

var _ pb.UsageHandler = (*Usage)(nil)

// New returns the handlers, or an error when the configuration is not valid.
func New(cfg Config) (*Usage, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Usage{core: cfg.Core}, nil
}
