package service_test

import (
	"context"
	stderrors "errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
)

// tell has the provider tell of something.
func (s *shop) tell(e service.WebhookEvent) error {
	s.signatures.VerifyReturns(e, nil)
	return s.Webhook(context.Background(), []byte("{}"), "signed")
}

// subscribed is a customer who is on pro, and what the provider says of the subscription.
func (s *shop) subscribed() (id, card string, about service.WebhookEvent) {
	s.t.Helper()
	id, card = s.customer()
	_, err := s.subscribe(id, "pro", card, "1")
	require.NoError(s.t, err)
	s.outbox.take()
	return id, card, service.WebhookEvent{
		Kind: service.WebhookSubscription, CustomerID: id, ProvidersCustomer: s.bank.theirs(id), Subscription: s.bank.live(id)[0].ID,
	}
}

func as(e service.WebhookEvent, id string, kind service.WebhookKind) service.WebhookEvent {
	e.ID, e.Kind = id, kind
	return e
}

func TestWebhook(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, _, about := s.subscribed()
		s.bank.set(about.Subscription, func(s *service.Subscription) { s.Status = service.PastDue })
		require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscription)))
		require.Equal(t, "pro past_due false", s.on(id), "it keeps the tier while the provider tries again")
		require.Empty(t, s.changes())

		calls := s.payments.SubscriptionCallCount()
		s.bank.set(about.Subscription, func(s *service.Subscription) { s.Status = service.Active })
		require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscription)))
		require.Equal(t, "pro past_due false", s.on(id), "each event once")
		require.Equal(t, calls, s.payments.SubscriptionCallCount())
		// An old event, which told of a failure, comes after the payment: what counts is what is now.
		require.NoError(t, s.tell(as(about, "evt_0", service.WebhookSubscription)))
		require.Equal(t, "pro active false", s.on(id))

		s.bank.set(about.Subscription, func(s *service.Subscription) { s.PriceID = "price_team" })
		require.NoError(t, s.tell(as(about, "evt_2", service.WebhookSubscription)))
		require.Equal(t, "team active false", s.on(id), "changed in the provider's own pages")
		require.Equal(t, []string{"pro>team"}, s.changes())
		s.bank.set(about.Subscription, func(s *service.Subscription) { s.PriceID = "price_unknown" })
		require.NoError(t, s.tell(as(about, "evt_3", service.WebhookSubscription)))
		require.Equal(t, "team active false", s.on(id))

		require.NoError(t, s.tell(as(about, "evt_4", service.WebhookSubscriptionEnd)))
		require.Equal(t, "free none false", s.on(id))
		require.Equal(t, []string{"team>free"}, s.changes())
		require.NoError(t, s.tell(as(about, "evt_5", service.WebhookSubscription)))
		require.NoError(t, s.tell(as(about, "evt_6", service.WebhookSubscriptionEnd)))
		require.Equal(t, "free none false", s.on(id), "what comes after the end brings nothing back")
		require.Empty(t, s.changes())
	})
}

// Of events about other subscriptions and other people nothing is taken.
func TestWebhookAboutOthers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card, about := s.subscribed()
	_, _, joes := s.subscribed()
	for name, change := range map[string]func(e *service.WebhookEvent){
		"another subscription":   func(e *service.WebhookEvent) { e.Subscription = joes.Subscription },
		"another's of theirs":    func(e *service.WebhookEvent) { e.ProvidersCustomer = joes.ProvidersCustomer },
		"nobody of theirs":       func(e *service.WebhookEvent) { e.CustomerID, e.ProvidersCustomer = "", "cus_none" },
		"nobody":                 func(e *service.WebhookEvent) { e.CustomerID, e.ProvidersCustomer = "", "" },
		"somebody unknown to us": func(e *service.WebhookEvent) { e.CustomerID = "01900000-0000-7000-8000-000000000000" },
	} {
		for _, kind := range []service.WebhookKind{service.WebhookSubscription, service.WebhookSubscriptionEnd, service.WebhookCardRemoved} {
			e := as(about, "evt_"+name+string(rune('0'+kind)), kind)
			e.Card = card + "x"
			change(&e)
			require.NoError(t, s.tell(e), name)
		}
		require.Equal(t, "pro active false", s.on(id), name)
	}
	require.Empty(t, s.outbox.take())
	require.NoError(t, s.tell(service.WebhookEvent{ID: "evt_other", Kind: service.WebhookOther, ProvidersCustomer: about.ProvidersCustomer}))
	about.CustomerID = ""
	require.NoError(t, s.tell(as(about, "evt_by_theirs", service.WebhookSubscriptionEnd)))
	require.Equal(t, "free none false", s.on(id), "theirs is enough to know who it is")
}

func TestWebhookOfCards(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, first := s.customer()
		e := service.WebhookEvent{ProvidersCustomer: s.bank.theirs(id)}
		require.NoError(t, s.tell(as(e, "evt_1", service.WebhookCardAdded)))
		second := s.bank.addCard(id)
		require.NoError(t, s.tell(as(e, "evt_2", service.WebhookCardAdded)))
		require.NoError(t, s.tell(as(e, "evt_3", service.WebhookCardAdded)))
		require.Equal(t, []string{first, second}, s.added())
		e.Card = first
		require.NoError(t, s.tell(as(e, "evt_4", service.WebhookCardRemoved)))
		require.NoError(t, s.tell(as(e, "evt_5", service.WebhookCardRemoved)))
		published := s.outbox.take()
		require.Len(t, published, 1)
		require.Equal(t, first, published[0].DeletePaymentMethod.CardId)
		// The news of its addition comes late, and the provider's own list is older than it should be.
		require.NoError(t, s.tell(as(e, "evt_6", service.WebhookCardAdded)))
		cards, err := s.ListCards(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, cards, 1)
		require.Equal(t, second, cards[0].ID)
		require.Empty(t, s.outbox.take())
	})
}

// What cannot be taken in is not remembered, so that it is taken in when it is sent again.
func TestWebhookFailures(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, _, about := s.subscribed()
	s.signatures.VerifyReturns(service.WebhookEvent{}, errors.Invalid("Stripe-Signature", "wrong"))
	requireError(t, s.Webhook(t.Context(), []byte("{}"), "forged"), errors.KindInvalid, "Stripe-Signature")
	requireError(t, s.Webhook(t.Context(), make([]byte, 1<<20+1), "signed"), errors.KindInvalid, "body: must have at most")

	real := s.payments.SubscriptionStub
	s.payments.SubscriptionCalls(func(context.Context, string) (service.Subscription, error) { return service.Subscription{}, errAway })
	requireError(t, s.tell(as(about, "evt_1", service.WebhookSubscription)), errors.KindUnavailable, "away")
	s.payments.SubscriptionCalls(real)
	s.outbox.fail(stderrors.New("full"))
	require.Error(t, s.tell(as(about, "evt_2", service.WebhookSubscriptionEnd)))
	s.outbox.fail(nil)
	require.Equal(t, "pro active false", s.on(id))
	require.Zero(t, s.rows("billing_webhooks"))
	require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscription)))
	require.NoError(t, s.tell(as(about, "evt_2", service.WebhookSubscriptionEnd)))
	require.Equal(t, "free none false", s.on(id))
}

// Whoever changes the account while the provider is asked is not undone by what it said before.
func TestWebhookDuringAChange(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card, about := s.subscribed()
	real := s.payments.SubscriptionStub
	s.payments.SubscriptionCalls(func(ctx context.Context, sub string) (service.Subscription, error) {
		answer, err := real(ctx, sub)
		if s.payments.SubscriptionCallCount() == 1 {
			_, err := s.subscribe(id, "team", card, "2")
			assert.NoError(t, err)
		}
		return answer, err
	})
	require.NoError(t, s.tell(as(about, "evt_1", service.WebhookSubscription)))
	require.Equal(t, "team active false", s.on(id))
	require.Equal(t, 2, s.payments.SubscriptionCallCount())
	require.Equal(t, []string{"pro>team"}, s.changes())
}

func TestWebhookAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, _, about := s.subscribed()
		s.signatures.VerifyReturns(as(about, "evt_1", service.WebhookSubscriptionEnd), nil)
		processes := []*service.Billing{s.Billing, s.another()}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { assert.NoError(t, processes[i%2].Webhook(t.Context(), []byte("{}"), "signed")) })
		}
		wg.Wait()
		require.Equal(t, "free none false", s.on(id))
		require.Equal(t, []string{"pro>free"}, s.changes())
	})
}
