// Package service is the core of usage: how many requests customers have made, and how many they may. It knows no RPC; its errors are those of
// pkg/errors, and speak of the fields of its own types.
//
// A request is recorded by Record, which publishes it, and counted by Count, to which it comes as an event; or it is
// published by somebody else, and only counted. The one table that says of each request whether it was accepted and whether
// it was counted keeps both from happening twice.
package service

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Outbox is where events are put in the transaction of what they are about. The service's is an events.Outbox.
type Outbox interface {
	Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error
}

// Config is what New needs.
type Config struct {
	// DB is the service's database, migrated.
	DB *database.DB
	// Outbox publishes what was recorded, and that quotas come to their end.
	Outbox Outbox
	// Settings is what the operator has configured, or DefaultSettings.
	Settings Settings
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("usage: a database is missing")
	case c.Outbox == nil:
		return errors.New("usage: an outbox is missing")
	}
	return c.Settings.Validate()
}

// Usage knows what was counted. It may be used by many goroutines at once, and by several processes on one database.
type Usage struct {
	db     *database.DB
	outbox Outbox
	quotas map[string]int64 // by tier
	clock  func() time.Time
}

// New returns the usage in a database, or an error when the configuration is not valid.
func New(cfg Config) (*Usage, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Usage{db: cfg.DB, outbox: cfg.Outbox, quotas: maps.Clone(cfg.Settings.Quotas), clock: cfg.Clock}, nil
}

// now is the time as it is kept.
func (u *Usage) now() time.Time { return u.clock().UTC().Truncate(time.Microsecond) }

// Total is a number of requests.
type Total struct {
	Requests int64
	// Endpoints is the number for each endpoint, by "api/endpoint". They add up to Requests. Nil when it was not asked for.
	Endpoints map[string]int64
}

// MonthlyTotal returns how many requests a customer has made in the present calendar month, UTC; with detail, for each
// endpoint as well. Nobody is refused for being unknown: who the customers are is not known here.
func (u *Usage) MonthlyTotal(ctx context.Context, customerID string, detail bool) (Total, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return Total{}, err
	}
	month := monthOf(u.clock())
	if detail {
		return endpointsOfMonth(ctx, u.db.Read(), id, month)
	}
	return totalOfMonth(ctx, u.db.Read(), id, month)
}

// dayOf returns when the day of a time began, which is how days are kept. Both are in microseconds since 1970, UTC.
func dayOf(us int64) int64 {
	const day = int64(24 * time.Hour / time.Microsecond)
	into := us % day
	if into < 0 {
		into += day
	}
	return us - into
}

// monthOf returns when the calendar month of a time began, which is how months are kept.
func monthOf(t time.Time) time.Time {
	year, month, _ := t.UTC().Date()
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}
