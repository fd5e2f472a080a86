// Package service is the core of billing: what there is to buy and what it costs, who has bought what, and with which card.
// It knows no RPC; its errors are those of pkg/errors, and speak of the fields of its own types.
//
// What changes a subscription is an operation. It is written down first, is then carried out by the payment provider under a
// name that comes from what was written, and in the end the account, the event and the answer are written in one
// transaction. A process may die anywhere between: whoever comes next for the same customer, or Resume, carries the
// operation out again under the same name, which the provider knows, and ends it. A customer has one such operation at a
// time, so that nobody gets two subscriptions.
package service

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Free is the id of the tier that everybody is on who has not subscribed to another.
const Free = "free"

// Tier is what a customer can subscribe to.
type Tier struct {
	ID       string
	Name     string
	Price    int64  // for a month, in the minor unit of Currency
	Currency string // ISO 4217, in small letters
	// MonthlyQuota is how many requests a calendar month (UTC) includes.
	MonthlyQuota int64
	// RateLimit is how many requests a second are let through.
	RateLimit int64
	// PriceID is what Stripe calls the price. It is not for customers.
	PriceID string
}

// Outbox is where events are put in the transaction of what they are about. The service's is an events.Outbox.
type Outbox interface {
	Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error
}

// Config is what New needs.
type Config struct {
	// Settings is what the operator has configured, or DefaultSettings.
	Settings Settings
	// DB is the service's database, migrated.
	DB *database.DB
	// Outbox publishes what happens to customers.
	Outbox Outbox
	// Payments is the payment provider; nil when there is none: then nobody can subscribe to what costs something.
	Payments Payments
	// StandIn says that Payments is no real provider: it takes any id for a price, and a tier without one gets one.
	StandIn bool
	// Signatures checks webhooks; nil when there are none.
	Signatures Signatures
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("billing: a database is missing")
	case c.Outbox == nil:
		return errors.New("billing: an outbox is missing")
	}
	return c.Settings.Validate()
}

// Billing is the service without its RPCs. It may be used by many goroutines at once, and by several processes on one
// database.
type Billing struct {
	tiers      []Tier
	db         *database.DB
	outbox     Outbox
	payments   Payments
	signatures Signatures
	clock      func() time.Time
	turns      turns
}

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Billing, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	tiers := make([]Tier, 0, len(cfg.Settings.Tiers))
	for id, t := range cfg.Settings.Tiers {
		if t.PriceID == "" && cfg.StandIn {
			t.PriceID = "price_" + id
		}
		tiers = append(tiers, Tier{
			ID: id, Name: t.Name, Price: t.Price, Currency: cfg.Settings.Currency,
			MonthlyQuota: t.MonthlyQuota, RateLimit: t.RateLimit, PriceID: t.PriceID,
		})
	}
	slices.SortFunc(tiers, func(a, b Tier) int { return cmp.Or(cmp.Compare(a.Price, b.Price), cmp.Compare(a.ID, b.ID)) })
	return &Billing{
		tiers: tiers, db: cfg.DB, outbox: cfg.Outbox, payments: cfg.Payments, signatures: cfg.Signatures, clock: cfg.Clock,
	}, nil
}

// Tiers returns every tier, ordered by price and then by id.
func (b *Billing) Tiers() []Tier { return slices.Clone(b.tiers) }

// tier returns the tier of an id. A tier that is not configured any more is one of which only the id is known.
func (b *Billing) tier(id string) (Tier, bool) {
	for _, t := range b.tiers {
		if t.ID == id {
			return t, true
		}
	}
	return Tier{ID: id}, false
}

// now is the time as it is kept.
func (b *Billing) now() time.Time { return b.clock().UTC().Truncate(time.Microsecond) }
