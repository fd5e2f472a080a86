// Package service is the core of signup: how somebody becomes a customer. It knows no RPC; its errors are those of
// pkg/errors, and speak of the fields of its own types.
package service

import (
	"errors"

	"github.com/m3o/backend/pkg/database"
)

// Config is what New needs.
type Config struct {
	// DB is the service's database, migrated.
	DB *database.DB
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	if c.DB == nil {
		return errors.New("signup: a database is missing")
	}
	return nil
}

// Signup is the service without its RPCs. It may be used by many goroutines at once, and by several processes on one
// database.
type Signup struct{ db *database.DB }

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Signup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Signup{db: cfg.DB}, nil
}
