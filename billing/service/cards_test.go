package service_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
)

func TestSetupCard(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id := uuid.NewString()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				secret, err := s.SetupCard(t.Context(), id)
				assert.NoError(t, err)
				assert.Equal(t, s.bank.theirs(id)+"_secret", secret)
			})
		}
		wg.Wait()
		made := s.bank.count("customer")
		_, err := s.SetupCard(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, made, s.bank.count("customer"), "it is known by now")
		for i := range made { // those at once have used the same key
			_, customerID, key := s.payments.CreateCustomerArgsForCall(i)
			require.Equal(t, id, customerID)
			require.Equal(t, "customer/"+id, key)
		}
		_, err = s.SetupCard(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "customer_id: required")
	})
}

func TestCards(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, first := s.customer()
		joe, joes := s.customer()
		second := s.bank.addCard(id)
		nobody, err := s.ListCards(t.Context(), uuid.NewString())
		require.NoError(t, err)
		require.Empty(t, nobody)
		s.outbox.take()
		for range 2 {
			cards, err := s.ListCards(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, []service.Card{
				{ID: first, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030},
				{ID: second, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030},
			}, cards)
		}
		require.Equal(t, []string{first, second}, s.added())
		_, err = s.ListCards(t.Context(), joe)
		require.NoError(t, err)
		s.outbox.take()

		requireError(t, s.DeleteCard(t.Context(), id, joes), errors.KindNotFound, "id: there is no such card")
		requireError(t, s.DeleteCard(t.Context(), joe, first), errors.KindNotFound, "id: there is no such card")
		requireError(t, s.DeleteCard(t.Context(), id, ""), errors.KindInvalid, "id: required")
		requireError(t, s.DeleteCard(t.Context(), "", first), errors.KindInvalid, "customer_id: required")
		require.NoError(t, s.DeleteCard(t.Context(), id, first))
		requireError(t, s.DeleteCard(t.Context(), id, first), errors.KindNotFound, "id: there is no such card")
		published := s.outbox.take()
		require.Len(t, published, 1)
		require.Equal(t, first, published[0].DeletePaymentMethod.CardId)
		cards, err := s.ListCards(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, cards, 1)
		_, err = s.subscribe(id, "pro", first, "1")
		requireError(t, err, errors.KindNotFound, "card_id: there is no such card")
		require.Empty(t, s.added())
	})
}

// A bank renews a card, which is the same card.
func TestRenewedCard(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	_, err := s.ListCards(t.Context(), id)
	require.NoError(t, err)
	s.bank.renew(id)
	cards, err := s.ListCards(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []service.Card{{ID: card, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2034}}, cards)
	require.Equal(t, []string{card}, s.added())
}

// A card that was removed stays removed while the provider is away, and is detached afterwards.
func TestDeleteCardWhileTheProviderIsAway(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		_, err := s.ListCards(t.Context(), id)
		require.NoError(t, err)
		s.bank.fault = func(call, _ string) (bool, bool) { return call == "detach", false }
		require.NoError(t, s.DeleteCard(t.Context(), id, card))
		cards, err := s.ListCards(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, cards, "although the provider has it still")
		s.bank.fault = nil
		require.False(t, s.bank.isDetached(card))
		require.NoError(t, s.Resume(t.Context()))
		require.True(t, s.bank.isDetached(card))
		n := s.bank.count("detach")
		require.NoError(t, s.Resume(t.Context()))
		require.Equal(t, n, s.bank.count("detach"))
	})
}

// added are the cards of what was published since the last time.
func (s *shop) added() []string {
	var all []string
	for _, e := range s.outbox.take() {
		if c := e.AddPaymentMethod; c != nil {
			all = append(all, c.CardId)
		}
	}
	return all
}

// theirs is the bank's customer for one of ours.
func (b *bank) theirs(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.customers[id]
}

func (b *bank) isDetached(card string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.detached[card]
}

// renew gives the cards of a customer of ours four years more.
func (b *bank) renew(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cards := b.cards[b.customers[id]]
	for i := range cards {
		cards[i].ExpYear += 4
	}
}
