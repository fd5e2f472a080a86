// Package service is the core of billing: what there is to buy and what it costs. It knows no RPC; its errors are those
// of pkg/errors.
package service

import (
	"cmp"
	"slices"
)

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

// Config is what New needs.
type Config struct {
	// Settings is what the operator has configured, or DefaultSettings.
	Settings Settings
}

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error { return c.Settings.Validate() }

// Billing is the service without its RPCs. It may be used by many goroutines at once.
type Billing struct{ tiers []Tier }

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Billing, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tiers := make([]Tier, 0, len(cfg.Settings.Tiers))
	for id, t := range cfg.Settings.Tiers {
		tiers = append(tiers, Tier{
			ID: id, Name: t.Name, Price: t.Price, Currency: cfg.Settings.Currency,
			MonthlyQuota: t.MonthlyQuota, RateLimit: t.RateLimit, PriceID: t.PriceID,
		})
	}
	slices.SortFunc(tiers, func(a, b Tier) int { return cmp.Or(cmp.Compare(a.Price, b.Price), cmp.Compare(a.ID, b.ID)) })
	return &Billing{tiers: tiers}, nil
}

// Tiers returns every tier, ordered by price and then by id.
func (b *Billing) Tiers() []Tier { return slices.Clone(b.tiers) }
