// Package service is the core of signup: how somebody becomes a customer. It knows no RPC of its own; its errors are those of
// pkg/errors, and speak of the fields of its own types.
//
// A token is sent to an address and comes back with a password; what then happens is several calls to other services, any of
// which may be the last before this process is killed. So a call claims the token for as long as it can take, every step of
// it may be made again, and the token is used up after the last. The same call again completes what was begun: at once if
// the one before has failed, and after claimFor at most if it was killed.
package service

import (
	"context"
	"errors"
	"time"

	authpb "github.com/micro/micro/v3/proto/auth"

	customerspb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Outbox is where events are put in the transaction of what they are about. The service's is an events.Outbox.
type Outbox interface {
	Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error
}

// Mailer sends mails.
type Mailer interface {
	// Send sends a mail, or hands it to somebody who will. A mail with an ID that was sent before is the same mail again.
	// The error says nothing personal; it is permanent (errors.Permanent) when the recipient is refused for good.
	Send(ctx context.Context, m Mail) error
}

// Mail is what is sent to one address.
type Mail struct {
	// ID is a UUID, and no other mail's.
	ID string
	// To is an address of package address.
	To string
	// Subject is one line. Text and HTML say the same.
	Subject, Text, HTML string
	// Date is when it was written.
	Date time.Time
}

// Config is what New needs.
type Config struct {
	// DB is the service's database, migrated.
	DB *database.DB
	// Outbox publishes what happens to customers here.
	Outbox Outbox
	// Mailer sends the mails.
	Mailer Mailer
	// Customers is the service that knows the customers.
	Customers customerspb.CustomersService
	// Auth and Accounts are the service that keeps their passwords.
	Auth     authpb.AuthService
	Accounts authpb.AccountsService
	// Settings is what the operator has configured, or DefaultSettings.
	Settings Settings
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("signup: a database is missing")
	case c.Outbox == nil:
		return errors.New("signup: an outbox is missing")
	case c.Mailer == nil:
		return errors.New("signup: a mailer is missing")
	case c.Customers == nil:
		return errors.New("signup: a client of customers is missing")
	case c.Auth == nil || c.Accounts == nil:
		return errors.New("signup: the clients of auth are missing")
	}
	return c.Settings.Validate()
}

// Signup is the service without its RPCs. It may be used by many goroutines at once, and by several processes on one
// database.
type Signup struct {
	db       *database.DB
	outbox   Outbox
	mailer   Mailer
	remote   remote
	settings Settings
	domains  domains
	callers  *callers
	clock    func() time.Time
}

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Signup, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Signup{
		db: cfg.DB, outbox: cfg.Outbox, mailer: cfg.Mailer, remote: remote{cfg.Customers, cfg.Auth, cfg.Accounts},
		settings: cfg.Settings, domains: newDomains(cfg.Settings), callers: newCallers(cfg.Settings.MailsPerCallerPerHour),
		clock: cfg.Clock,
	}, nil
}

// now is the time as it is kept.
func (s *Signup) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }
