// Package handler answers the RPCs of signup: it checks what is about the request alone, calls the core, and translates
// the answer. What the core refuses goes out as it is: pkg/service makes a Micro error of it.
package handler

import (
	"context"
	"errors"

	pb "github.com/m3o/backend/signup/proto"
	"github.com/m3o/backend/signup/service"
)

// Core is what the handlers need of the core.
type Core interface {
	SendVerificationEmail(ctx context.Context, email string) error
	CompleteSignup(ctx context.Context, email, token, secret string) (service.Session, error)
	Recover(ctx context.Context, email string) error
	ResetPassword(ctx context.Context, email, token, password string) error
	SendEmailChange(ctx context.Context, c service.EmailChange) error
	Track(ctx context.Context, said service.Track) error
	ReadTrack(ctx context.Context, id string) (service.Track, error)
}

// Config is what New needs.
type Config struct {
	// Core makes customers of visitors.
	Core Core
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.Core == nil {
		return errors.New("signup: the core is missing")
	}
	return nil
}

// Signup handles the RPCs of the proto service of that name.
type Signup struct{ core Core }

var _ pb.SignupHandler = (*Signup)(nil)

// New returns the handlers, or an error when the configuration is not valid.
func New(cfg Config) (*Signup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Signup{core: cfg.Core}, nil
}
