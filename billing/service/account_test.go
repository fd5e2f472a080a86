package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// in runs f in a transaction.
func (s *shop) in(f func(tx database.Querier) error) error {
	return s.db.Tx(s.t.Context(), func(_ context.Context, tx database.Querier) error { return f(tx) })
}

func TestAccounts(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id := uuid.NewString()
		require.Equal(t, "free none false", s.on(id), "the news of them may be on its way")
		for range 2 {
			require.NoError(t, s.in(func(tx database.Querier) error { return s.Open(t.Context(), tx, id) }))
		}
		require.Equal(t, service.Account{CustomerID: id, Tier: "free", Status: service.None}, shown(s.account(id)))
		_, err := s.ReadAccount(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "id: required")
		err = s.in(func(tx database.Querier) error { return s.Open(t.Context(), tx, "jane") })
		require.True(t, errors.Permanent(err), "no event of that will ever be good: %v", err)
	})
}

// shown is an account without what only the core knows.
func shown(a service.Account) service.Account {
	return service.Account{
		CustomerID: a.CustomerID, Tier: a.Tier, Status: a.Status, PeriodEnd: a.PeriodEnd, CancelAtPeriodEnd: a.CancelAtPeriodEnd, Closed: a.Closed,
	}
}

// Who is deleted pays no more, and can buy nothing until they are back.
func TestDeletedCustomer(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		_, err := s.subscribe(id, "pro", card, "1")
		require.NoError(t, err)
		s.outbox.take()
		for range 2 {
			require.NoError(t, s.in(func(tx database.Querier) error { return s.Close(t.Context(), tx, id) }))
		}
		require.Len(t, s.bank.live(id), 1, "no call in the transaction of an event")
		_, err = s.subscribe(id, "team", card, "2")
		requireError(t, err, errors.KindConflict, "the customer is deleted")
		_, err = s.SetupCard(t.Context(), id)
		requireError(t, err, errors.KindConflict, "the customer is deleted")

		s.bank.fault = func(string, string) (bool, bool) { return true, false }
		require.NoError(t, s.Resume(t.Context()), "it is logged, and others come all the same")
		require.Len(t, s.bank.live(id), 1)
		s.bank.fault = nil
		s.clock.Turn(time.Minute)
		require.NoError(t, s.Resume(t.Context()))
		require.NoError(t, s.Resume(t.Context()))
		require.Empty(t, s.bank.live(id))
		require.Equal(t, "free none false", s.on(id))
		require.Equal(t, []string{"pro>free"}, s.changes())

		require.NoError(t, s.in(func(tx database.Querier) error { return s.Reopen(t.Context(), tx, id) }))
		_, err = s.subscribe(id, "team", card, "3")
		require.NoError(t, err)
	})
}

// An operation that was on its way when the customer was deleted is ended first, and then cancelled.
func TestDeletedWhileSubscribing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	s.bank.fault = func(string, string) (bool, bool) { return false, true }
	_, err := s.subscribe(id, "pro", card, "1")
	requireError(t, err, errors.KindUnavailable, "away")
	s.bank.fault = nil
	require.NoError(t, s.in(func(tx database.Querier) error { return s.Close(t.Context(), tx, id) }))
	s.clock.Turn(time.Hour)
	require.NoError(t, s.Resume(t.Context()))
	require.Empty(t, s.bank.live(id))
	require.Equal(t, 1, s.bank.made())
	require.Equal(t, []string{"free>pro", "pro>free"}, s.changes())
}

// What no webhook has told of is found out.
func TestEndPeriods(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		for name, tc := range map[string]struct {
			becomes func(s *service.Subscription)
			want    string
			changes []string
		}{
			"ended":       {func(s *service.Subscription) { s.Status = service.Ended }, "free none false", []string{"pro>free"}},
			"unpaid":      {func(s *service.Subscription) { s.Status = service.PastDue }, "pro past_due false", nil},
			"cancelled":   {func(s *service.Subscription) { s.CancelAtPeriodEnd = true }, "pro active true", nil},
			"other price": {func(s *service.Subscription) { s.PriceID = "price_team" }, "team active false", []string{"pro>team"}},
			"renewed":     {func(s *service.Subscription) { s.PeriodEnd = s.PeriodEnd.AddDate(0, 1, 0) }, "pro active false", nil},
		} {
			id, _, about := s.subscribed()
			calls := s.payments.SubscriptionCallCount()
			asked := func() int {
				require.NoError(t, s.EndPeriods(t.Context()), name)
				return s.payments.SubscriptionCallCount() - calls
			}
			end := s.clock.Now()
			s.bank.set(about.Subscription, func(sub *service.Subscription) { sub.PeriodEnd = end })
			require.NoError(t, s.tell(as(about, "evt_"+name, service.WebhookSubscription)))
			calls++
			require.Zero(t, asked(), "%s: it is not time", name)
			s.clock.Turn(2 * time.Hour)
			require.Equal(t, 1, asked(), name)
			require.Equal(t, "pro active false", s.on(id), "%s: the provider says that it goes on", name)
			s.clock.Turn(10 * time.Minute)
			require.Equal(t, 1, asked(), "%s: once in an hour", name)
			s.bank.set(about.Subscription, tc.becomes)
			s.clock.Turn(2 * time.Hour)
			require.Equal(t, 2, asked(), name)
			require.Equal(t, tc.want, s.on(id), name)
			require.Equal(t, tc.changes, s.changes(), name)
			if name == "renewed" {
				require.Greater(t, s.account(id).PeriodEnd, end)
			}
			// Out of the way of the next.
			_, err := s.CancelSubscription(t.Context(), id, false)
			require.NoError(t, err)
			s.outbox.take()
		}
	})
}

// Many that cannot be asked about do not keep the rest from it.
func TestEndPeriodsTakesTurns(t *testing.T) {
	t.Parallel()
	s := setup(t)
	asked := make(map[string]int)
	s.payments.SubscriptionCalls(func(_ context.Context, id string) (service.Subscription, error) {
		asked[id]++
		return service.Subscription{}, errAway
	})
	for range 60 {
		s.subscribed()
	}
	s.clock.Turn(40 * 24 * time.Hour)
	for _, want := range []int{50, 60, 60} {
		require.NoError(t, s.EndPeriods(t.Context()))
		require.Len(t, asked, want)
	}
	s.clock.Turn(2 * time.Hour)
	require.NoError(t, s.EndPeriods(t.Context()))
	total := 0
	for _, n := range asked {
		total += n
	}
	require.Equal(t, 110, total)
}

// What changes while the provider is asked is not undone by what it said before.
func TestEndPeriodsDuringAChange(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, _, about := s.subscribed()
	real := s.payments.SubscriptionStub
	s.payments.SubscriptionCalls(func(ctx context.Context, sub string) (service.Subscription, error) {
		answer, err := real(ctx, sub)
		if s.payments.SubscriptionCallCount() == 1 {
			require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscriptionEnd)))
		}
		return answer, err
	})
	s.clock.Turn(40 * 24 * time.Hour)
	require.NoError(t, s.EndPeriods(t.Context()))
	require.Equal(t, "free none false", s.on(id))
	require.Equal(t, 1, s.payments.SubscriptionCallCount())
}

// Keys are remembered for 30 days, and operations that have not ended for as long as it takes.
func TestSweep(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		_, err := s.subscribe(id, "pro", card, "1")
		require.NoError(t, err)
		s.bank.fault = func(string, string) (bool, bool) { return true, false }
		_, err = s.subscribe(id, "team", card, "2")
		require.Error(t, err)
		s.signatures.VerifyReturns(service.WebhookEvent{ID: "evt_1"}, nil)
		require.NoError(t, s.Webhook(t.Context(), nil, ""))
		s.clock.Turn(29 * 24 * time.Hour)
		require.NoError(t, s.Sweep(t.Context()))
		require.Equal(t, []int{2, 1}, []int{s.rows("billing_operations"), s.rows("billing_webhooks")})
		s.clock.Turn(48 * time.Hour)
		require.NoError(t, s.Sweep(t.Context()))
		require.Equal(t, []int{1, 0}, []int{s.rows("billing_operations"), s.rows("billing_webhooks")})
		s.bank.fault = nil
		require.NoError(t, s.Resume(t.Context()))
		require.Equal(t, "pro active false", s.on(id), "nobody wants it any more")
		require.Zero(t, s.pending())
		require.NoError(t, s.Sweep(t.Context()))
		require.Zero(t, s.rows("billing_operations"))
	})
}

func (s *shop) pending() int {
	s.t.Helper()
	return s.rows("billing_operations WHERE state = 'pending'")
}

func (s *shop) rows(table string) int {
	s.t.Helper()
	var n int
	require.NoError(s.t, s.db.Read().QueryRow(s.t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n))
	return n
}
