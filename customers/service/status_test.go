package service_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

var statuses = []service.Status{
	service.AwaitingVerification, service.Verified, service.Active, service.Inactive, service.Banned,
}

// calls are those that move a customer from one status to another.
var calls = map[string]func(*service.Customers, context.Context, string) error{
	"MarkVerified": func(c *service.Customers, ctx context.Context, id string) error {
		_, err := c.MarkVerified(ctx, service.Ref{ID: id})
		return err
	},
	"Activate": func(c *service.Customers, ctx context.Context, id string) error {
		_, err := c.Activate(ctx, id)
		return err
	},
	"Ban": func(c *service.Customers, ctx context.Context, id string) error {
		_, err := c.Ban(ctx, service.Ref{ID: id}, "spam")
		return err
	},
	"Unban": func(c *service.Customers, ctx context.Context, id string) error {
		_, err := c.Unban(ctx, service.Ref{ID: id})
		return err
	},
	"Delete": func(c *service.Customers, ctx context.Context, id string) error {
		return c.Delete(ctx, service.Ref{ID: id})
	},
	"Undelete": func(c *service.Customers, ctx context.Context, id string) error {
		_, err := c.Undelete(ctx, id)
		return err
	},
}

// expected is what becomes of a customer of each status, said anew: "-" is nothing, "409" a refusal. The customer who is
// banned or deleted here was awaiting verification before.
var expected = map[string]map[service.Status]string{
	"MarkVerified": {"awaiting_verification": "verified", "verified": "-", "active": "-", "inactive": "409", "banned": "409"},
	"Activate":     {"awaiting_verification": "409", "verified": "active", "active": "-", "inactive": "409", "banned": "409"},
	"Ban":          {"awaiting_verification": "banned", "verified": "banned", "active": "banned", "inactive": "409", "banned": "-"},
	"Unban":        {"awaiting_verification": "-", "verified": "-", "active": "-", "inactive": "-", "banned": "awaiting_verification"},
	"Delete":       {"awaiting_verification": "inactive", "verified": "inactive", "active": "inactive", "inactive": "-", "banned": "inactive"},
	"Undelete":     {"awaiting_verification": "-", "verified": "-", "active": "-", "inactive": "awaiting_verification", "banned": "-"},
}

var eventOf = map[string]customersevents.EventType{
	"MarkVerified": customersevents.EventType_EventTypeVerified, "Activate": customersevents.EventType_EventTypeSignup,
	"Ban": customersevents.EventType_EventTypeBanned, "Unban": customersevents.EventType_EventTypeUnbanned,
	"Delete": customersevents.EventType_EventTypeDeleted, "Undelete": customersevents.EventType_EventTypeUpdated,
}

// Every call on a customer of every status: what it makes of them, which event follows, and what it leaves alone.
func TestTransitions(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for name, call := range calls {
			for _, from := range statuses {
				what := fmt.Sprintf("%s of %s", name, from)
				before := r.customer(t, fmt.Sprintf("%s.%s@example.com", name, from), from)
				r.clock.Turn(time.Minute)
				var err error
				events := r.told(t, func() { err = call(r.customers, as(t.Context(), "admin"), before.ID) })
				after := r.read(t, before.ID)
				switch want := expected[name][from]; want {
				case "409":
					requireError(t, err, errors.KindConflict, "status: is "+string(from)+", and "+name+" is for customers who are ")
					assert.Equal(t, before, after, what)
					assert.Empty(t, events, what)
				case "-":
					require.NoError(t, err, what)
					assert.Equal(t, before, after, what)
					assert.Empty(t, events, what)
				default:
					require.NoError(t, err, what)
					assert.Equal(t, service.Status(want), after.Status, what)
					assert.Equal(t, before.Version+1, after.Version, what)
					assert.Equal(t, r.clock.Now().Truncate(time.Microsecond), after.Updated, what)
					require.Len(t, events, 1, what)
					assert.Equal(t, eventOf[name], events[0].Type, what)
					assert.Equal(t, "admin", events[0].CallerId, what)
					requireEvent(t, &customersevents.Event{Customer: inEvent(after)}, &customersevents.Event{Customer: events[0].Customer})
					assert.Equal(t, name == "Ban", events[0].GetBanned().GetReason() == "spam", what)
				}
				if name != "MarkVerified" && expected[name][from] != "409" {
					assert.Equal(t, after.Status != service.Active, r.blocked.has(before.ID), what)
				}
			}
		}
		assert.Zero(t, r.due(t))
	})
}

// A ban gives back whatever there was before it, however often and in whatever way it was given and lifted.
func TestUnbanRestores(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for _, status := range statuses[:3] {
			c := r.customer(t, string(status)+"@example.com", status)
			for range 2 {
				for range 2 {
					require.NoError(t, calls["Ban"](r.customers, t.Context(), c.ID))
				}
				require.NoError(t, calls["Unban"](r.customers, t.Context(), c.ID))
				require.Equal(t, status, r.read(t, c.ID).Status)
			}
			// An admin may ban with Update as well.
			_, err := r.customers.Update(t.Context(), service.Change{ID: c.ID, Status: new(service.Banned)})
			require.NoError(t, err)
			require.True(t, r.blocked.has(c.ID))
			require.NoError(t, calls["Unban"](r.customers, t.Context(), c.ID))
			require.Equal(t, status, r.read(t, c.ID).Status)
			require.Equal(t, status != service.Active, r.blocked.has(c.ID))
			// Whoever deletes themself while banned is as banned afterwards.
			require.NoError(t, calls["Ban"](r.customers, t.Context(), c.ID))
			require.NoError(t, calls["Delete"](r.customers, t.Context(), c.ID))
			_, err = r.customers.Update(t.Context(), service.Change{ID: c.ID, Status: new(service.Banned)})
			require.NoError(t, err)
			require.NoError(t, calls["Unban"](r.customers, t.Context(), c.ID))
			require.Equal(t, status, r.read(t, c.ID).Status)
		}
	})
}

// What was deleted is as it was before, bans and log-ins included, for as long as it can be undone.
func TestUndelete(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for _, status := range []service.Status{service.AwaitingVerification, service.Verified, service.Active, service.Banned} {
			c := r.customer(t, string(status)+"@example.com", status)
			for range 2 {
				require.NoError(t, calls["Delete"](r.customers, t.Context(), c.ID))
				require.True(t, r.blocked.has(c.ID))
				r.clock.Turn(30*24*time.Hour - time.Microsecond)
				events := r.told(t, func() { require.NoError(t, calls["Undelete"](r.customers, t.Context(), c.ID)) })
				require.Len(t, events, 1)
				require.Equal(t, []string{"status"}, events[0].Updated.Fields)
				require.Equal(t, status, r.read(t, c.ID).Status)
				require.Equal(t, status != service.Active, r.blocked.has(c.ID))
			}
			require.NoError(t, calls["Delete"](r.customers, t.Context(), c.ID))
			r.clock.Turn(30 * 24 * time.Hour)
			deleted := r.read(t, c.ID)
			_, err := r.customers.Undelete(t.Context(), c.ID)
			requireError(t, err, errors.KindConflict, "status: is inactive for more than 30 days")
			require.Equal(t, deleted, r.read(t, c.ID))
		}
		_, err := r.customers.Undelete(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "id: required")
	})
}

// A version that kept less has deleted somebody: they get the least that they can have had, and no ban is lifted.
func TestUndeleteOfAnEarlierDeletion(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for from, want := range map[service.Status]service.Status{
			service.Active: service.AwaitingVerification, service.Banned: service.Banned,
		} {
			c := r.customer(t, string(from)+"@example.com", from)
			require.NoError(t, calls["Delete"](r.customers, t.Context(), c.ID))
			require.NoError(t, r.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				_, err := tx.Exec(ctx, `UPDATE customers_customers SET before_delete = NULL WHERE id = $1`, c.ID)
				return err
			}))
			got, err := r.customers.Undelete(t.Context(), c.ID)
			require.NoError(t, err)
			require.Equal(t, want, got.Status)
		}
	})
}

// A version that kept less has banned somebody: they get the least that they can have had.
func TestUnbanOfAnEarlierBan(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Banned)
		require.NoError(t, r.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, `UPDATE customers_customers SET before_ban = NULL WHERE id = $1`, jane.ID)
			return err
		}))
		got, err := r.customers.Unban(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		require.Equal(t, service.AwaitingVerification, got.Status)
	})
}

func TestStatusRequests(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	unknown := "0190f8b0-0000-7000-8000-000000000000"
	events := r.told(t, func() {
		_, err := r.customers.Activate(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "id: required")
		_, err = r.customers.Activate(t.Context(), "17")
		requireError(t, err, errors.KindInvalid, "id: must be the id of a customer")
		_, err = r.customers.Activate(t.Context(), unknown)
		requireError(t, err, errors.KindNotFound, "id: there is no such customer")
		for _, f := range []func(service.Ref) error{
			func(ref service.Ref) error { _, err := r.customers.MarkVerified(t.Context(), ref); return err },
			func(ref service.Ref) error { _, err := r.customers.Ban(t.Context(), ref, ""); return err },
			func(ref service.Ref) error { _, err := r.customers.Unban(t.Context(), ref); return err },
		} {
			requireError(t, f(service.Ref{}), errors.KindInvalid, "id: give either id or email")
			requireError(t, f(service.Ref{ID: jane.ID, Email: jane.Email}), errors.KindInvalid, "id: give either id or email")
			requireError(t, f(service.Ref{Email: "nobody@example.com"}), errors.KindNotFound, "email: there is no such customer")
		}
		_, err = r.customers.Ban(t.Context(), service.Ref{ID: jane.ID}, "a\x00b")
		requireError(t, err, errors.KindInvalid, "reason: must have no control characters")
		_, err = r.customers.Ban(t.Context(), service.Ref{ID: jane.ID}, string(make([]rune, 501)))
		requireError(t, err, errors.KindInvalid, "reason: must have at most 500 characters")
	})
	require.Empty(t, events)
	require.Equal(t, jane, r.read(t, jane.ID))
	got, err := r.customers.Ban(t.Context(), service.Ref{Email: "JANE@example.com"}, "ä\n\tb")
	require.NoError(t, err)
	require.Equal(t, service.Banned, got.Status)
}

// model is what the statuses of one customer do, said anew.
type model struct {
	status, before, beforeDelete service.Status
	version                      int
}

// Random histories of calls, among them an admin's Update, end where the model does, and the account fits at every step.
func TestHistories(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "customers", migrations.FS)
	r, number := newRoom(t, db), 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		c := create(t, r.customers, fmt.Sprintf("history%d@example.com", number), "")
		m := model{status: service.AwaitingVerification, version: 1}
		for range rapid.IntRange(1, 12).Draw(rt, "calls") {
			name := rapid.SampledFrom([]string{"MarkVerified", "Activate", "Ban", "Unban", "Delete", "Undelete", "Update"}).Draw(rt, "call")
			var err error
			before := m
			events := r.told(t, func() {
				if name == "Update" {
					to := rapid.SampledFrom([]service.Status{service.AwaitingVerification, service.Verified, service.Active, service.Banned}).Draw(rt, "to")
					m = m.update(to)
					_, err = r.customers.Update(t.Context(), service.Change{ID: c.ID, Status: &to})
					return
				}
				m = m.after(name)
				err = calls[name](r.customers, t.Context(), c.ID)
			})
			got := r.read(t, c.ID)
			require.Equal(rt, m.status, got.Status, name)
			require.EqualValues(rt, m.version, got.Version, name)
			require.Equal(rt, m.version-before.version, len(events), "an event for each change, and no other")
			refused := name != "Update" && expected[name][before.status] == "409"
			require.Equal(rt, refused, err != nil, "%s of %s: %v", name, before.status, err)
			if m.status != service.AwaitingVerification && m.status != service.Verified || name == "Update" {
				require.Equal(rt, m.status != service.Active, r.blocked.has(c.ID), name)
			}
		}
	})
}

func (m model) after(call string) model {
	switch want := expected[call][m.status]; {
	case want == "409" || want == "-":
		return m
	case call == "Unban":
		return model{status: m.before, version: m.version + 1}
	case call == "Delete":
		return model{status: service.Inactive, before: m.before, beforeDelete: m.status, version: m.version + 1}
	case call == "Undelete":
		return model{status: m.beforeDelete, before: m.before, version: m.version + 1}
	default:
		return m.update(service.Status(want))
	}
}

func (m model) update(to service.Status) model {
	if to == m.status {
		return m
	}
	next := model{status: to, version: m.version + 1}
	if to == service.Banned {
		next.before = m.status
		if m.status == service.Inactive && m.before != "" {
			next.before = m.before
		}
	}
	return next
}

// Who was active and is made less by an admin can log in nowhere, and again when they have completed the signup once more.
func TestActiveNoLonger(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for _, status := range []service.Status{service.AwaitingVerification, service.Verified} {
			jane := r.customer(t, string(status)+"@example.com", service.Active)
			require.False(t, r.blocked.has(jane.ID))
			_, err := r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: &status})
			require.NoError(t, err)
			require.True(t, r.blocked.has(jane.ID))
			require.NoError(t, calls["MarkVerified"](r.customers, t.Context(), jane.ID))
			require.True(t, r.blocked.has(jane.ID))
			require.NoError(t, calls["Activate"](r.customers, t.Context(), jane.ID))
			require.False(t, r.blocked.has(jane.ID), "when Activate has answered, and not later")
			require.Zero(t, r.due(t))
		}
	})
}

// The same call of Activate, when the auth service was away, is told it.
func TestActivateAgain(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Verified)
		require.True(t, r.blocked.has(jane.ID))
		r.accounts.SetBlockedCalls(nil)
		r.accounts.SetBlockedReturns(false, errAway)
		requireError(t, calls["Activate"](r.customers, t.Context(), jane.ID), errors.KindUnavailable, "the change is made")
		require.Equal(t, service.Active, r.read(t, jane.ID).Status)
		r.accounts.SetBlockedCalls(r.blocked.set)
		require.NoError(t, calls["Activate"](r.customers, t.Context(), jane.ID))
		require.False(t, r.blocked.has(jane.ID))
	})
}

// Of many who ban and unban at once, the last one is whom the account fits.
func TestBanAndUnbanAtOnce(t *testing.T) {
	const callers = 16
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				assert.NoError(t, calls[[]string{"Ban", "Unban"}[i%2]](r.customers, context.Background(), jane.ID))
			})
		}
		wg.Wait()
		got := r.read(t, jane.ID)
		assert.Equal(t, got.Status == service.Banned, r.blocked.has(jane.ID))
		assert.Contains(t, []service.Status{service.Banned, service.Active}, got.Status)
		assert.Zero(t, r.due(t))
		require.NoError(t, calls["Unban"](r.customers, t.Context(), jane.ID))
		assert.Equal(t, service.Active, r.read(t, jane.ID).Status)
	})
}
