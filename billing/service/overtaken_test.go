package service_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// again has the last operation of a kind not have ended, as one to which somebody comes back late sees it.
func (s *shop) again(id, kind string) {
	s.t.Helper()
	require.NoError(s.t, s.in(func(tx database.Querier) error {
		_, err := tx.Exec(s.t.Context(), `
			UPDATE billing_operations SET state = 'pending', answer = '' WHERE id = (
				SELECT id FROM billing_operations WHERE customer_id = $1 AND kind = $2 ORDER BY created DESC, id DESC LIMIT 1)`, id, kind)
		return err
	}))
	s.clock.Turn(time.Minute)
}

// An operation that comes late leaves a subscription alone that is not its own.
func TestOvertakenOperation(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		for kind, atPeriodEnd := range map[string]bool{"cancel": false, "cancel_at_period_end": true} {
			id, _, about := s.subscribed()
			_, err := s.CancelSubscription(t.Context(), id, atPeriodEnd)
			require.NoError(t, err)
			s.bank.set(about.Subscription, func(s *service.Subscription) { s.Status = service.Ended })
			require.NoError(t, s.tell(as(about, "evt_"+kind, service.WebhookSubscriptionEnd)))
			_, err = s.subscribe(id, "team", s.bank.addCard(id), "2")
			require.NoError(t, err)
			s.again(id, kind)
			require.NoError(t, s.Resume(t.Context()))
			require.Zero(t, s.pending())
			require.Equal(t, "team active false", s.on(id), kind)
			require.Len(t, s.bank.live(id), 1)
			require.False(t, s.bank.live(id)[0].CancelAtPeriodEnd)
		}
	})
}

// A cancellation is not undone by a change of what was cancelled.
func TestChangeAfterACancellation(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card, _ := s.subscribed()
		_, err := s.subscribe(id, "team", card, "2")
		require.NoError(t, err)
		_, err = s.CancelSubscription(t.Context(), id, false)
		require.NoError(t, err)
		s.again(id, "subscribe")
		_, err = s.subscribe(id, "team", card, "2")
		requireError(t, err, errors.KindConflict, "has ended meanwhile")
		require.Equal(t, "free none false", s.on(id))
		require.Empty(t, s.bank.live(id))
		require.Equal(t, 1, s.bank.made())
	})
}

// A process that comes to the provider after another one has carried the operation out, and the subscription was cancelled,
// makes no new one.
func TestChangeOfTwoProcesses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card, _ := s.subscribed()
	real := s.payments.ChangeSubscriptionStub
	var first atomic.Bool
	s.payments.ChangeSubscriptionCalls(func(ctx context.Context, sub string, c service.SubscriptionChange, key string) (service.Subscription, error) {
		if !first.CompareAndSwap(false, true) {
			return real(ctx, sub, c, key)
		}
		other := s.another()
		_, err := other.SubscribeTier(ctx, service.Subscribe{CustomerID: id, Tier: "team", Card: card, Key: "2"})
		assert.NoError(t, err)
		_, err = other.CancelSubscription(ctx, id, false)
		assert.NoError(t, err)
		return service.Subscription{}, errNone
	})
	account, err := s.subscribe(id, "team", card, "2")
	require.NoError(t, err)
	require.Equal(t, "team", account.Tier, "as it was answered")
	require.Equal(t, "free none false", s.on(id))
	require.Empty(t, s.bank.live(id))
	require.Equal(t, 1, s.bank.made())
}

// A subscription that ends while it is changed does not come back by the answer to that.
func TestEndDuringAChange(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card, about := s.subscribed()
	real := s.payments.ChangeSubscriptionStub
	s.payments.ChangeSubscriptionCalls(func(ctx context.Context, sub string, c service.SubscriptionChange, key string) (service.Subscription, error) {
		answer, err := real(ctx, sub, c, key)
		s.bank.set(sub, func(s *service.Subscription) { s.Status = service.Ended })
		assert.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscriptionEnd)))
		return answer, err
	})
	_, err := s.subscribe(id, "team", card, "2")
	requireError(t, err, errors.KindConflict, "has ended meanwhile")
	require.Equal(t, "free none false", s.on(id))
	require.Equal(t, []string{"pro>free"}, s.changes())
}

// A subscription that was made in the place of one that had ended is found, also when the news of that end comes first.
func TestMadeInPlaceOfAnEndedOne(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card, about := s.subscribed()
	s.bank.set(about.Subscription, func(s *service.Subscription) { s.Status = service.Ended })
	s.bank.fault = func(call, _ string) (bool, bool) { return false, call == "subscribe" }
	_, err := s.subscribe(id, "team", card, "2")
	requireError(t, err, errors.KindUnavailable, "away")
	s.bank.fault = nil
	require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscriptionEnd)))
	s.clock.Turn(time.Minute)
	require.NoError(t, s.Resume(t.Context()))
	require.Equal(t, "team active false", s.on(id))
	require.Len(t, s.bank.live(id), 1)
}
