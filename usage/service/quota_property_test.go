package service_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/database"
	usageevents "github.com/m3o/backend/pkg/events/proto/usage"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/fakes"
)

// standing is what the model knows of a customer.
type standing struct {
	tier     string
	quota    int64 // of the tier, as billing said
	override *service.Override
	called   map[time.Time]int64 // by months
	told     map[time.Time]int64
}

// model says what ought to be.
type model struct {
	now       time.Time
	customers map[string]*standing
	events    []string
}

func newModel() *model {
	m := &model{now: time.Date(2030, 12, 20, 12, 0, 0, 0, time.UTC), customers: make(map[string]*standing)}
	for _, id := range []string{jane, john} {
		m.customers[id] = &standing{tier: "free", called: make(map[time.Time]int64), told: make(map[time.Time]int64)}
	}
	return m
}

func (m *model) month() time.Time { return month(m.now.Year(), m.now.Month()) }

func (m *model) allowed(id string) service.Allowed {
	c := m.customers[id]
	a := service.Allowed{Tier: c.tier, Quota: c.quota}
	if quota, ok := map[string]int64{"free": 10, "pro": 100}[c.tier]; ok {
		a.Quota = quota
	}
	if o := c.override; o != nil && (o.Until.IsZero() || m.now.Before(o.Until)) {
		a.Quota, a.Until = o.Quota, o.Until
	}
	return a
}

// look publishes what there is to publish about a customer.
func (m *model) look(id string) {
	c, at, a := m.customers[id], m.month(), m.allowed(id)
	for _, level := range []struct {
		percent int64
		kind    usageevents.EventType
	}{{80, usageevents.EventType_EventTypeQuotaWarning}, {100, usageevents.EventType_EventTypeQuotaReached}} {
		if n := c.called[at]; n > 0 && c.told[at] < level.percent && n*100 >= a.Quota*level.percent {
			c.told[at] = level.percent
			m.events = append(m.events, fmt.Sprintf("%s of %s: %d/%d %s %s", level.kind, id, n, a.Quota, c.tier, at.Format(time.DateOnly)))
		}
	}
}

// eventsOf are the events that were published, as the model writes them.
func eventsOf(outbox *fakes.FakeOutbox) []string {
	var all []string
	for i := range outbox.AddCallCount() {
		_, _, drafts := outbox.AddArgsForCall(i)
		for _, d := range drafts {
			e := d.Message.(*usageevents.Event)
			q := e.QuotaWarning
			if e.QuotaReached != nil {
				q = e.QuotaReached
			}
			all = append(all, fmt.Sprintf("%s of %s: %d/%d %s %s", e.Type, e.CustomerId, q.Requests, q.Quota, q.Tier, q.Month.AsTime().Format(time.DateOnly)))
		}
	}
	return all
}

// Whatever is called, changed and set, while months turn: what is let through and what is told is what the rules say.
func TestRandomQuotas(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		rapid.Check(t, func(r *rapid.T) {
			inTx(r, db, func(ctx context.Context, tx database.Querier) error {
				for _, table := range []string{"usage_daily", "usage_monthly", "usage_totals", "usage_customers"} {
					if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
						return err
					}
				}
				return nil
			})
			m, outbox, c := newModel(), &fakes.FakeOutbox{}, &clock{}
			c.now = m.now
			u := small(t, db, outbox, c)
			anyone := rapid.SampledFrom([]string{jane, john})
			sequence := int64(0)
			r.Repeat(map[string]func(*rapid.T){
				"count": func(r *rapid.T) { m.count(r, db, u) },
				"change the tier": func(r *rapid.T) {
					id, tier := anyone.Draw(r, "customer"), rapid.SampledFrom([]string{"free", "pro", "odd"}).Draw(r, "tier")
					sequence++
					change := service.TierChange{
						CustomerID: id, Tier: tier, MonthlyQuota: rapid.Int64Range(0, 12).Draw(r, "quota"), Time: m.now, Sequence: sequence,
					}
					changeTier(r, db, u, change)
					if s := m.customers[id]; s.tier != tier {
						s.override = nil
					}
					m.customers[id].tier, m.customers[id].quota = tier, change.MonthlyQuota
					m.look(id)
				},
				"set a quota": func(r *rapid.T) {
					id := anyone.Draw(r, "customer")
					var o *service.Override
					if rapid.Bool().Draw(r, "set") {
						o = &service.Override{Quota: rapid.Int64Range(0, 20).Draw(r, "quota")}
						if hours := rapid.IntRange(0, 48).Draw(r, "hours"); hours > 0 {
							o.Until = m.now.Add(time.Duration(hours) * time.Hour)
						}
					}
					m.customers[id].override = o
					got, err := u.SetQuota(context.Background(), id, o)
					require.NoError(r, err)
					require.Equal(r, m.allowed(id), got)
					m.look(id)
				},
				"enter": func(r *rapid.T) { enter(r, db, u, anyone.Draw(r, "customer")) },
				"wait": func(r *rapid.T) {
					m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20*24).Draw(r, "hours")) * time.Hour)
					c.now = m.now
				},
				"": func(r *rapid.T) {
					require.Equal(r, m.events, eventsOf(outbox))
					for id, s := range m.customers {
						got, err := u.Monthly(context.Background(), id, nil)
						require.NoError(r, err)
						require.Equal(r, service.Monthly{Requests: s.called[m.month()], Endpoints: map[string]int64{}, Allowed: m.allowed(id)}, got)
						report, err := u.Read(context.Background(), service.Query{CustomerID: id, Window: service.Month})
						require.NoError(r, err)
						require.Equal(r, max(0, got.Allowed.Quota-got.Requests), report.Remaining)
					}
				},
			})
		})
	})
}

// count counts some requests of both, most of them of now.
func (m *model) count(r *rapid.T, db *database.DB, u *service.Usage) {
	var list []service.Request
	present := make(map[string]bool)
	for range rapid.IntRange(1, 6).Draw(r, "requests") {
		id := rapid.SampledFrom([]string{jane, john}).Draw(r, "customer")
		at := m.now.Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 24 * 25}).Draw(r, "age")) * time.Hour)
		list = append(list, made(1, id, rapid.SampledFrom([]string{"Now", "Then"}).Draw(r, "endpoint"), at)...)
		of := month(at.Year(), at.Month())
		m.customers[id].called[of]++
		if of.Equal(m.month()) {
			present[id] = true
		}
	}
	require.NoError(r, countIn(db, u, list))
	require.NoError(r, countIn(db, u, slices.Clone(list)), "delivered again")
	for _, id := range []string{jane, john} { // in the order of their ids
		if present[id] {
			m.look(id)
		}
	}
}
