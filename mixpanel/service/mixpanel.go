// Package service is the core of mixpanel: its types, rules and storage. It knows no RPC; its errors are those of pkg/errors.
package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/m3o/backend/pkg/database"
)

// Letters knows which events could not be forwarded.
type Letters interface {
	// Letters returns how many events of a topic are tried again, and how many were given up.
	Letters(ctx context.Context, topic string) (waiting, dead int64, err error)
}

// Config is what New needs.
type Config struct {
	// Settings are what an operator has configured.
	Settings Settings
	// StandIn is where what stands in for Mixpanel listens; empty when nothing does.
	StandIn string
	// DB is the service's database.
	DB *database.DB
	// Letters knows which events could not be forwarded.
	Letters Letters
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
	// Log is where it is told how forwarding goes; slog.Default() when nil.
	Log *slog.Logger
	// Transport makes the connections to Mixpanel; http.DefaultTransport when nil.
	Transport http.RoundTripper
	// Metrics is where metrics are registered; nowhere when nil.
	Metrics prometheus.Registerer
}

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("mixpanel: a database is missing")
	case c.Letters == nil:
		return errors.New("mixpanel: who knows what could not be forwarded is missing")
	}
	return c.Settings.Validate()
}

// Mixpanel is the service without its RPCs. It may be used by many goroutines at once.
type Mixpanel struct {
	sender      *sender // nil when events go to the log
	destination destination
	topics      []string
	ignored     map[string]bool
	db          *database.DB
	letters     Letters
	clock       func() time.Time
	log         *slog.Logger
	metrics     *metrics
	verdicts    verdicts
}

// New returns the core, or an error when the configuration is not valid.
func New(cfg Config) (*Mixpanel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	metrics, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	c := &Mixpanel{
		destination: cfg.Settings.destination(cfg.StandIn), topics: slices.Clone(cfg.Settings.Topics), ignored: make(map[string]bool),
		db: cfg.DB, letters: cfg.Letters, clock: cfg.Clock, log: cfg.Log, metrics: metrics,
	}
	for _, name := range cfg.Settings.Ignore {
		c.ignored[name] = true
	}
	if c.destination.kind != toLog {
		c.sender = newSender(c.destination, cfg, metrics)
	}
	return c, nil
}

// Now returns the present time in UTC.
func (c *Mixpanel) Now(context.Context) (time.Time, error) { return c.clock().UTC(), nil }

// Topics are those that are forwarded.
func (c *Mixpanel) Topics() []string { return slices.Clone(c.topics) }

// Check says why Mixpanel takes nothing from us, for a check of the service's health. That it is away for a while is no reason:
// events wait where they are.
func (c *Mixpanel) Check(context.Context) error {
	if c.sender == nil {
		return nil
	}
	return c.sender.check()
}
