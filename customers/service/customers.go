// Package service is the core of customers: what a customer is, what may change, and where it is kept. It knows no RPC;
// its errors are those of pkg/errors, and speak of the fields of its own types.
package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
)

// Status is what a customer may do.
type Status string

// The statuses.
const (
	AwaitingVerification Status = "awaiting_verification" // the address is not proven
	Verified             Status = "verified"              // the address is proven, there is no password yet
	Active               Status = "active"                // may log in and hold keys
	Inactive             Status = "inactive"              // deleted; the address stays taken
	Banned               Status = "banned"
)

// Customer is somebody who has signed up, or has begun to.
type Customer struct {
	ID      string // a UUID of version 7, in lower case
	Status  Status
	Email   string
	Name    string
	Meta    map[string]string // nil when empty
	Created time.Time         // UTC, to the microsecond
	Updated time.Time         // UTC, to the microsecond
	Version int64             // 1, and one more with each change

	beforeBan Status // what a banned customer was; empty for others, but for one who was deleted while banned
	// beforeDelete is what a deleted customer was; empty for others.
	beforeDelete Status
}

// Ref names a customer by exactly one of its fields.
type Ref struct {
	ID    string
	Email string // in any case
}

// Config is what New needs.
type Config struct {
	// DB is the service's database, migrated.
	DB *database.DB
	// Outbox publishes what happens to customers.
	Outbox Outbox
	// Accounts knows passwords and sessions.
	Accounts Accounts
	// Mails sends the mails of a change of an address.
	Mails Mails
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("customers: a database is missing")
	case c.Outbox == nil:
		return errors.New("customers: an outbox is missing")
	case c.Accounts == nil:
		return errors.New("customers: accounts are missing")
	case c.Mails == nil:
		return errors.New("customers: mails are missing")
	}
	return nil
}

// Customers keeps the customers. It may be used by many goroutines at once, and by several processes on one database.
type Customers struct {
	book
	accounts        Accounts
	mails           Mails
	byID, byAddress *database.Lookup[string, Customer]
}

// book is where what is known of customers is written down, and told about.
type book struct {
	db     *database.DB
	outbox Outbox
	clock  func() time.Time
}

func newBook(db *database.DB, outbox Outbox, clock func() time.Time) book {
	if clock == nil {
		clock = time.Now
	}
	return book{db: db, outbox: outbox, clock: clock}
}

// New returns the customers in a database, or an error when the configuration is not valid.
func New(cfg Config) (*Customers, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	by := func(column string) *database.Lookup[string, Customer] {
		return database.NewLookup(cfg.DB, func(ctx context.Context, q database.Reader, values []string) (map[string]Customer, error) {
			return findEach(ctx, q, column, values)
		})
	}
	return &Customers{
		book: newBook(cfg.DB, cfg.Outbox, cfg.Clock), accounts: cfg.Accounts, mails: cfg.Mails, byID: by("id"), byAddress: by("email_key"),
	}, nil
}

// now is the time as it is kept.
func (b *book) now() time.Time { return b.clock().UTC().Truncate(time.Microsecond) }

// NewCustomer describes a customer to be.
type NewCustomer struct {
	Email string // required
	Name  string
	Meta  map[string]string
}

// Create adds a customer whose address is still to be proven. When there is one with the address already, in any case, it
// is returned as it is, so that a call may be made again; unless it is deleted, which is a conflict.
func (c *Customers) Create(ctx context.Context, n NewCustomer) (Customer, error) {
	email, err := parseAddress("email", n.Email)
	if err != nil {
		return Customer{}, err
	}
	name, err := checkName("name", n.Name)
	if err != nil {
		return Customer{}, err
	}
	meta, err := checkMeta("meta", n.Meta)
	if err != nil {
		return Customer{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Customer{}, fmt.Errorf("make an id: %w", err)
	}
	now := c.now()
	fresh := Customer{
		ID: id.String(), Status: AwaitingVerification, Email: email.text, Name: name, Meta: meta,
		Created: now, Updated: now, Version: 1,
	}
	var result Customer
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		added, err := insert(ctx, tx, fresh)
		if err != nil {
			return err
		}
		if added {
			result = fresh
			return c.publish(ctx, tx, fresh, created())
		}
		result, err = find(ctx, tx, "email_key", email.key, "")
		return err
	})
	if err != nil {
		return Customer{}, fmt.Errorf("create a customer: %w", err)
	}
	if result.Status == Inactive {
		return Customer{}, conflictDeleted("email")
	}
	return result, nil
}

// Read returns a customer, whatever its status.
func (c *Customers) Read(ctx context.Context, ref Ref) (Customer, error) {
	column, key, err := ref.key()
	if err != nil {
		return Customer{}, err
	}
	by := c.byID
	if column == "email_key" {
		by = c.byAddress
	}
	customer, ok, err := by.Get(ctx, key)
	if err == nil && !ok {
		err = errNoCustomer(column)
	}
	return customer, err
}
