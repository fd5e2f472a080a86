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

func TestEndPeriods(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		_, err := s.subscribe(id, "pro", card, "1")
		require.NoError(t, err)
		account, err := s.CancelSubscription(t.Context(), id, true)
		require.NoError(t, err)
		sub := s.bank.live(id)[0].ID
		require.NoError(t, s.EndPeriods(t.Context()))
		require.Zero(t, s.payments.SubscriptionCallCount(), "it is not time")
		s.clock.Turn(account.PeriodEnd.Sub(start) + 2*time.Hour)
		require.NoError(t, s.EndPeriods(t.Context()))
		require.Equal(t, 1, s.payments.SubscriptionCallCount())
		require.Equal(t, "pro active true", s.on(id), "the provider says that it goes on")
		s.bank.set(sub, func(s *service.Subscription) { s.Status = service.Ended })
		s.outbox.take()
		require.NoError(t, s.EndPeriods(t.Context()))
		require.Equal(t, "free none false", s.on(id))
		require.Equal(t, []string{"pro>free"}, s.changes())
		require.NoError(t, s.EndPeriods(t.Context()))
		require.Equal(t, 2, s.payments.SubscriptionCallCount())
	})
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
