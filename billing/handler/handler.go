// Package handler answers the RPCs of billing: it checks what is about the request alone, calls the core, and translates
// the answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

// Core is what the handlers need of the core.
type Core interface {
	Tiers() []service.Tier
	ReadAccount(ctx context.Context, customerID string) (service.Account, error)
	SubscribeTier(ctx context.Context, s service.Subscribe) (service.Account, error)
	CancelSubscription(ctx context.Context, customerID string, atPeriodEnd bool) (service.Account, error)
	SetupCard(ctx context.Context, customerID string) (string, error)
	ListCards(ctx context.Context, customerID string) ([]service.Card, error)
	DeleteCard(ctx context.Context, customerID, cardID string) error
	Webhook(ctx context.Context, body []byte, signature string) error
	PublishAPI(ctx context.Context, api string, endpoints []service.Endpoint) error
	Prices(ctx context.Context) ([]service.Price, error)
}

// Config is what New needs.
type Config struct {
	// Core knows what there is to buy, and sells it.
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

// toProto translates an account.
func toProto(a service.Account) *pb.Account {
	account := &pb.Account{
		CustomerId: a.CustomerID, Tier: a.Tier, Status: string(a.Status), CancelAtPeriodEnd: a.CancelAtPeriodEnd,
	}
	if !a.PeriodEnd.IsZero() {
		account.CurrentPeriodEnd = timestamppb.New(a.PeriodEnd)
	}
	return account
}
