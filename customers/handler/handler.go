// Package handler answers the RPCs of customers: it checks what is about the request alone, calls the core, and translates
// the answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"context"
	"errors"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// Core is what the handlers need of the core.
type Core interface {
	Create(ctx context.Context, n service.NewCustomer) (service.Customer, error)
	Read(ctx context.Context, ref service.Ref) (service.Customer, error)
	List(ctx context.Context, q service.ListQuery) (service.Page, error)
	Update(ctx context.Context, change service.Change) (service.Customer, error)
	RequestEmailChange(ctx context.Context, customerID, email string) error
	ConfirmEmailChange(ctx context.Context, customerID, token string) (service.Customer, error)
	Delete(ctx context.Context, ref service.Ref) error
	Erase(ctx context.Context, ref service.Ref) error
	ReadErasure(ctx context.Context, id string) ([]service.Erasure, error)
	MarkVerified(ctx context.Context, ref service.Ref) (service.Customer, error)
	Activate(ctx context.Context, id string) (service.Customer, error)
	Ban(ctx context.Context, ref service.Ref, reason string) (service.Customer, error)
	Unban(ctx context.Context, ref service.Ref) (service.Customer, error)
	Undelete(ctx context.Context, id string) (service.Customer, error)
	Login(ctx context.Context, given service.Credentials) (service.Token, error)
	Logout(ctx context.Context, e service.Ending) error
	Sessions(ctx context.Context, customerID string) ([]service.LogIn, error)
	RevokeSession(ctx context.Context, customerID, sessionID string) error
}

// Config is what New needs.
type Config struct {
	// Core keeps the customers.
	Core Core
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.Core == nil {
		return errors.New("customers: the core is missing")
	}
	return nil
}

// Customers handles the RPCs of the proto service of that name.
type Customers struct{ core Core }

var _ pb.CustomersHandler = (*Customers)(nil)

// New returns the handlers, or an error when the configuration is not valid.
func New(cfg Config) (*Customers, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Customers{core: cfg.Core}, nil
}

// toProto translates a customer.
func toProto(c service.Customer) *pb.Customer {
	return &pb.Customer{
		Id:      c.ID,
		Status:  string(c.Status),
		Created: c.Created.Unix(),
		Email:   c.Email,
		Updated: c.Updated.Unix(),
		Meta:    c.Meta,
		Name:    c.Name,
		Version: c.Version,
	}
}
