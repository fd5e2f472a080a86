package service_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// A card is charged soon after it was asked for or not at all; what was done then counts.
func TestLateOperation(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		for _, change := range []bool{false, true} {
			for _, lost := range []bool{false, true} {
				id, card := s.customer()
				before, after := "free none false", "team active false"
				if change {
					_, err := s.subscribe(id, "pro", card, "0")
					require.NoError(t, err)
					before = "pro active false"
				}
				s.bank.fault = func(string, string) (bool, bool) { return lost, !lost }
				_, err := s.subscribe(id, "team", card, "1")
				requireError(t, err, errors.KindUnavailable, "away")
				s.bank.fault = nil
				made, changed := s.bank.made(), s.bank.count("change")
				s.clock.Turn(16 * time.Minute)
				_, err = s.subscribe(id, "team", card, "1")
				if lost {
					requireError(t, err, errors.KindUnavailable, "nobody knows yet")
					require.Equal(t, 1, s.pending())
				} else {
					require.NoError(t, err)
				}
				s.clock.Turn(3 * time.Minute)
				require.NoError(t, s.Resume(t.Context()))
				require.Zero(t, s.pending())
				require.Equal(t, []int{made, changed}, []int{s.bank.made(), s.bank.count("change")})
				if !lost {
					require.Equal(t, after, s.on(id))
					continue
				}
				require.Equal(t, before, s.on(id))
				_, err = s.subscribe(id, "team", card, "1")
				requireError(t, err, errors.KindConflict, "nothing was done")
				_, err = s.subscribe(id, "team", card, "2")
				require.NoError(t, err)
				require.Equal(t, after, s.on(id))
			}
		}
	})
}

// Who is deleted while nobody knows whether they have subscribed is not subscribed after that.
func TestDeletedBeforeTheProviderIsBack(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	s.bank.fault = func(string, string) (bool, bool) { return true, false }
	_, err := s.subscribe(id, "pro", card, "1")
	requireError(t, err, errors.KindUnavailable, "away")
	s.bank.fault = nil
	require.NoError(t, s.in(func(tx database.Querier) error { return s.Close(t.Context(), tx, id) }))
	for _, wait := range []time.Duration{time.Minute, 20 * time.Minute} {
		s.clock.Turn(wait)
		require.NoError(t, s.Resume(t.Context()))
		require.Zero(t, s.bank.made())
	}
	require.Zero(t, s.pending())
	require.Equal(t, "free none false", s.on(id))
}

// A key that the provider refuses has done nothing the first time. The second time it says nothing of the first.
func TestNoAccess(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	noAccess := errors.Unavailable("away").WithCause(service.ErrNoAccess)
	real := s.payments.SubscribeStub
	refuse := func() {
		s.payments.SubscribeReturns(service.Subscription{}, noAccess)
		s.payments.SubscribeStub = nil
	}
	refuse()
	for range 2 {
		_, err := s.subscribe(id, "pro", card, "1")
		requireError(t, err, errors.KindUnavailable, "nothing was done")
	}
	require.Equal(t, 1, s.payments.SubscribeCallCount())
	require.Zero(t, s.pending())

	s.payments.SubscribeCalls(real)
	s.bank.fault = func(string, string) (bool, bool) { return false, true }
	_, err := s.subscribe(id, "pro", card, "2")
	requireError(t, err, errors.KindUnavailable, "away")
	s.bank.fault = nil
	refuse()
	_, err = s.subscribe(id, "pro", card, "2")
	requireError(t, err, errors.KindUnavailable, "away")
	require.Equal(t, 1, s.pending())
	s.payments.SubscribeCalls(real)
	_, err = s.subscribe(id, "pro", card, "2")
	require.NoError(t, err)
	require.Len(t, s.bank.live(id), 1)
}
