package service_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// erase does what the subscriber does, and says whether nothing is left to do.
func (s *shop) erase(id string) (done bool) {
	require.NoError(s.t, s.in(func(tx database.Querier) (err error) {
		done, err = s.Erase(context.Background(), tx, id)
		return err
	}))
	return done
}

// finish is a run of FinishErasures; it returns who was told to be done.
func (s *shop) finish() []string {
	var told []string
	require.NoError(s.t, s.FinishErasures(context.Background(), func(_ context.Context, _ database.Querier, id string) error {
		told = append(told, id)
		return nil
	}))
	return told
}

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		_, err := s.subscribe(id, "pro", card, "k1")
		require.NoError(t, err)
		require.NotZero(t, s.rows("billing_cards"))
		require.False(t, s.erase(id), "the provider has still to be told")

		s.payments.DeleteCustomerReturnsOnCall(0, errors.Unavailable("away"))
		require.Empty(t, s.finish(), "the provider is away")
		require.Equal(t, []string{id}, s.finish())
		_, theirs, key := s.payments.DeleteCustomerArgsForCall(1)
		require.Equal(t, s.bank.theirs(id), theirs)
		require.Equal(t, "erase/"+id, key)
		require.Empty(t, s.finish(), "it is done")
		require.Zero(t, s.rows("billing_cards"))
		require.Zero(t, s.rows("billing_operations"))

		// What is left is that nothing is sold to them, and no card comes back.
		account := s.account(id)
		require.True(t, account.Closed)
		require.Equal(t, "free", account.Tier)
		_, err = s.SetupCard(t.Context(), id)
		require.Equal(t, errors.KindConflict, errors.KindOf(err))
		cards, err := s.ListCards(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, cards)
	})
}

func TestEraseWhoHasNeverPaid(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id := uuid.NewString()
		require.True(t, s.erase(id))
		require.True(t, s.erase(id))
		require.Empty(t, s.finish())
		require.Zero(t, s.payments.DeleteCustomerCallCount())
	})
}
