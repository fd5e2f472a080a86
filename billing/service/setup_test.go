package service_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/fakes"
	"github.com/m3o/backend/billing/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// start is when the clock of the tests starts. It has more digits than are kept.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)

// clock is turned by the tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// settings are the default tiers, which the provider knows, and one that costs nothing.
func settings() service.Settings {
	s := service.DefaultSettings()
	for id, tier := range s.Tiers {
		if tier.Price > 0 {
			tier.PriceID = "price_" + id
			s.Tiers[id] = tier
		}
	}
	s.Tiers["gift"] = service.TierSettings{Name: "Gift", MonthlyQuota: 5, RateLimit: 5}
	return s
}

// shop is billing with everything that it needs.
type shop struct {
	*service.Billing
	t          testing.TB
	db         *database.DB
	bank       *bank
	payments   *fakes.FakePayments
	signatures *fakes.FakeSignatures
	outbox     *outbox
	clock      *clock
}

// each runs f on each database.
func each(t *testing.T, f func(t *testing.T, s *shop)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "billing", migrations.FS, func(t *testing.T, db *database.DB) { f(t, open(t, db)) })
}

// setup is for tests to which it does not matter which database it is.
func setup(t testing.TB) *shop {
	t.Helper()
	return open(t, databasetest.Open(t, "billing", migrations.FS))
}

func open(t testing.TB, db *database.DB) *shop {
	t.Helper()
	s := &shop{t: t, db: db, bank: newBank(), signatures: &fakes.FakeSignatures{}, outbox: &outbox{}, clock: &clock{now: start}}
	s.payments = s.bank.fake()
	s.Billing = s.another()
	return s
}

// another is another process of the same service.
func (s *shop) another() *service.Billing {
	b, err := service.New(service.Config{
		Settings: settings(), DB: s.db, Outbox: s.outbox, Payments: s.payments, Signatures: s.signatures, Clock: s.clock.Now,
	})
	require.NoError(s.t, err)
	return b
}

// outbox remembers what was added by transactions that have committed.
type outbox struct {
	mu     sync.Mutex
	events []*customersevents.Event
	err    error
}

func (o *outbox) Add(ctx context.Context, _ database.Querier, drafts ...events.Draft) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range drafts {
		e, _ := d.Message.(*customersevents.Event)
		if o.err != nil && e.SubscriptionChanged != nil {
			return o.err
		}
		if d.Topic != customersevents.Topic || d.Aggregate != "billing/"+e.Customer.Id || e.Customer.Email != "" {
			return fmt.Errorf("a wrong draft: %+v", d)
		}
		database.AfterCommit(ctx, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.events = append(o.events, e)
		})
	}
	return nil
}

// fail has everything fail that would change a tier, until it is called with nil.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// take returns what was published since the last time.
func (o *outbox) take() []*customersevents.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.events
	o.events = nil
	return all
}

// changes are the tiers of what was published since the last time, as "free>pro".
func (s *shop) changes() []string {
	var all []string
	for _, e := range s.outbox.take() {
		if c := e.SubscriptionChanged; c != nil {
			require.Equal(s.t, customersevents.EventType_EventTypeSubscriptionChanged, e.Type)
			tier := settings().Tiers[c.Tier]
			require.Equal(s.t, []int64{tier.MonthlyQuota, tier.RateLimit}, []int64{c.MonthlyQuota, c.RateLimit})
			all = append(all, c.PreviousTier+">"+c.Tier)
		}
	}
	return all
}

// customer is somebody new with a card.
func (s *shop) customer() (id, card string) {
	s.t.Helper()
	id = uuid.NewString()
	_, err := s.SetupCard(context.Background(), id)
	require.NoError(s.t, err)
	card = s.bank.addCard(id)
	return id, card
}

func (s *shop) subscribe(id, tier, card, key string) (service.Account, error) {
	return s.SubscribeTier(context.Background(), service.Subscribe{CustomerID: id, Tier: tier, Card: card, Key: key})
}

func (s *shop) account(id string) service.Account {
	s.t.Helper()
	account, err := s.ReadAccount(context.Background(), id)
	require.NoError(s.t, err)
	return account
}

// on is what a test may compare of an account.
func (s *shop) on(id string) string {
	s.t.Helper()
	a := s.account(id)
	return fmt.Sprintf("%s %s %t", a.Tier, a.Status, a.CancelAtPeriodEnd)
}

// requireError requires an error of a kind that contains a text.
func requireError(t testing.TB, err error, kind errors.Kind, text string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, errors.KindOf(err), "%v", err)
	require.Contains(t, err.Error(), text)
}
