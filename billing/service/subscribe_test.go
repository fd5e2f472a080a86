package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

func TestSubscribe(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		require.Equal(t, "free none false", s.on(id))
		ctx := auth.WithCaller(t.Context(), auth.Caller{Kind: auth.Customer, ID: id})
		got, err := s.SubscribeTier(ctx, service.Subscribe{CustomerID: id, Tier: "pro", Card: card, Key: "1"})
		require.NoError(t, err)
		require.Equal(t, "pro active false", s.on(id))
		require.Equal(t, start.Truncate(time.Second).AddDate(0, 1, 0), got.PeriodEnd)
		require.Len(t, s.bank.live(id), 1)
		require.Equal(t, "price_pro", s.bank.live(id)[0].PriceID)
		published := s.outbox.take()
		require.Len(t, published, 2, "the card, and the subscription")
		require.NotNil(t, published[0].AddPaymentMethod)
		require.Equal(t, id, published[1].CallerId)
		require.Equal(t, "free", published[1].SubscriptionChanged.PreviousTier)

		for range 2 { // the answer was lost, and the call made again
			again, err := s.subscribe(id, "pro", card, "1")
			require.NoError(t, err)
			require.Equal(t, got.PeriodEnd, again.PeriodEnd)
			require.Equal(t, "pro", again.Tier)
		}
		_, err = s.subscribe(id, "pro", card, "2")
		require.NoError(t, err, "it is on it already")
		require.Empty(t, s.changes())
		require.Equal(t, 1, s.bank.count("subscribe"))
		require.Zero(t, s.bank.count("change"))

		_, err = s.subscribe(id, "team", card, "3")
		require.NoError(t, err)
		require.Equal(t, []string{"pro>team"}, s.changes())
		require.Len(t, s.bank.live(id), 1)
		require.Equal(t, "price_team", s.bank.live(id)[0].PriceID)
		first, err := s.subscribe(id, "pro", card, "1")
		require.NoError(t, err)
		require.Equal(t, "pro", first.Tier, "as it was answered")
		require.Equal(t, "team active false", s.on(id))

		_, err = s.subscribe(id, "free", "", "4")
		require.NoError(t, err)
		require.Equal(t, "free none false", s.on(id))
		require.Equal(t, []string{"team>free"}, s.changes())
		require.Empty(t, s.bank.live(id))
		_, err = s.subscribe(id, "gift", "", "5")
		require.NoError(t, err)
		require.Equal(t, "gift none false", s.on(id))
		require.Equal(t, []string{"free>gift"}, s.changes())
		require.Equal(t, 1, s.bank.made())
	})
}

func TestSubscribeWithAnotherCard(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	other := s.bank.addCard(id)
	_, err := s.subscribe(id, "pro", card, "1")
	require.NoError(t, err)
	_, err = s.subscribe(id, "pro", other, "2")
	require.NoError(t, err)
	require.Len(t, s.bank.live(id), 1)
	require.Equal(t, other, s.bank.live(id)[0].card)
	require.NoError(t, s.DeleteCard(t.Context(), id, card))
	requireError(t, s.DeleteCard(t.Context(), id, other), errors.KindConflict, "pays for the subscription")
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	joe, joes := s.customer()
	_, err := s.ListCards(t.Context(), joe)
	require.NoError(t, err)
	_, err = s.subscribe(id, "pro", card, "used")
	require.NoError(t, err)
	s.outbox.take()
	for name, tc := range map[string]struct {
		id, tier, card, key string
		kind                errors.Kind
		text                string
	}{
		"no customer":             {"", "pro", card, "k", errors.KindInvalid, "customer_id: required"},
		"no UUID":                 {"jane", "pro", card, "k", errors.KindInvalid, "customer_id: must be the id of a customer"},
		"no tier":                 {id, "", card, "k", errors.KindInvalid, "id: required"},
		"a tier of wrong form":    {id, "Pro", card, "k", errors.KindInvalid, "id: must be the id of a tier"},
		"a tier there is not":     {id, "gold", card, "k", errors.KindNotFound, "id: there is no such tier"},
		"no card":                 {id, "pro", "", "k", errors.KindInvalid, "card_id: required"},
		"a card of wrong form":    {id, "pro", "a/b", "k", errors.KindInvalid, "card_id: must be the id of a card"},
		"a card there is not":     {id, "team", "pm_none", "k", errors.KindNotFound, "card_id: there is no such card"},
		"another customer's card": {id, "team", joes, "k", errors.KindNotFound, "card_id: there is no such card"},
		"no key":                  {id, "pro", card, "", errors.KindInvalid, "idempotency_key: required"},
		"a key of two lines":      {id, "pro", card, "a\nb", errors.KindInvalid, "idempotency_key: must have 1 to 64"},
		"another tier, same key":  {id, "team", card, "used", errors.KindConflict, "idempotency_key: names another call"},
		"another card, same key":  {id, "pro", joes, "used", errors.KindConflict, "idempotency_key: names another call"},
	} {
		_, err := s.subscribe(tc.id, tc.tier, tc.card, tc.key)
		requireError(t, err, tc.kind, tc.text)
		require.Equal(t, "pro active false", s.on(id), name)
		require.Empty(t, s.outbox.take(), name)
	}
	require.Equal(t, 1, s.bank.made())
	_, err = s.subscribe(joe, "pro", joes, "used")
	require.NoError(t, err, "keys are each customer's own")
}

func TestDeclinedCard(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		s.bank.declined[card] = true
		for range 2 {
			_, err := s.subscribe(id, "pro", card, "1")
			requireError(t, err, errors.KindPaymentRequired, "declined")
		}
		require.Equal(t, 1, s.bank.count("subscribe"))
		require.Equal(t, "free none false", s.on(id))
		require.Empty(t, s.changes())

		_, err := s.subscribe(id, "pro", s.bank.addCard(id), "2")
		require.NoError(t, err)
		_, err = s.subscribe(id, "team", card, "3")
		requireError(t, err, errors.KindPaymentRequired, "declined")
		require.Equal(t, "pro active false", s.on(id))
		require.Equal(t, "price_pro", s.bank.live(id)[0].PriceID)
	})
}

// What is refused for a reason of the inside is not told, and blocks nothing.
func TestRefusedByTheProvider(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	real := s.payments.SubscribeStub
	s.payments.SubscribeReturns(service.Subscription{}, stderrors.New("no such price"))
	s.payments.SubscribeStub = nil
	for range 2 {
		_, err := s.subscribe(id, "pro", card, "1")
		require.Equal(t, errors.KindInternal, errors.KindOf(err))
	}
	require.Equal(t, 1, s.payments.SubscribeCallCount())
	s.payments.SubscribeCalls(real)
	_, err := s.subscribe(id, "pro", card, "2")
	require.NoError(t, err)
	require.Equal(t, "pro active false", s.on(id))
}

func TestWithoutAProvider(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b, err := service.New(service.Config{Settings: settings(), DB: s.db, Outbox: s.outbox, Clock: s.clock.Now})
	require.NoError(t, err)
	id := uuid.NewString()
	_, err = b.SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "pro", Card: "pm_1", Key: "1"})
	requireError(t, err, errors.KindUnavailable, "no payment provider")
	_, err = b.SetupCard(t.Context(), id)
	requireError(t, err, errors.KindUnavailable, "no payment provider")
	cards, err := b.ListCards(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, cards)
	_, err = b.SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "gift", Key: "2"})
	require.NoError(t, err)
	_, err = b.CancelSubscription(t.Context(), id, false)
	require.NoError(t, err)
	require.Equal(t, []string{"free>gift", "gift>free"}, s.changes())
	requireError(t, b.Webhook(t.Context(), []byte("{}"), ""), errors.KindNotFound, "no signing secret")
	require.NoError(t, b.Resume(t.Context()))
	require.NoError(t, b.EndPeriods(t.Context()))
}

func TestTierWithoutAPrice(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	cfg := service.Config{Settings: service.DefaultSettings(), DB: s.db, Outbox: s.outbox, Payments: s.payments, Clock: s.clock.Now}
	b, err := service.New(cfg)
	require.NoError(t, err)
	_, err = b.SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "pro", Card: card, Key: "1"})
	requireError(t, err, errors.KindUnavailable, "no price_id")
	cfg.StandIn = true
	b, err = service.New(cfg)
	require.NoError(t, err)
	_, err = b.SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "pro", Card: card, Key: "1"})
	require.NoError(t, err)
	require.Equal(t, "price_pro", s.bank.live(id)[0].PriceID)
}

func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		for range 2 {
			_, err := s.CancelSubscription(t.Context(), id, false)
			require.NoError(t, err, "there is nothing to cancel")
			_, err = s.CancelSubscription(t.Context(), id, true)
			require.NoError(t, err)
		}
		_, err := s.subscribe(id, "pro", card, "1")
		require.NoError(t, err)
		require.Equal(t, []string{"free>pro"}, s.changes())
		for range 2 {
			_, err = s.CancelSubscription(t.Context(), id, true)
			require.NoError(t, err)
			require.Equal(t, "pro active true", s.on(id))
		}
		require.Equal(t, 1, s.bank.count("cancel at period end"))
		_, err = s.subscribe(id, "pro", card, "2")
		require.NoError(t, err, "it goes on after all")
		require.Equal(t, "pro active false", s.on(id))
		require.Empty(t, s.changes())
		for range 2 {
			account, err := s.CancelSubscription(t.Context(), id, false)
			require.NoError(t, err)
			assert.Equal(t, "free", account.Tier)
		}
		require.Equal(t, []string{"pro>free"}, s.changes())
		require.Empty(t, s.bank.live(id))
		require.Equal(t, 1, s.bank.count("cancel"))
	})
}

// A subscription that the provider has ended meanwhile, unknown to us, is in nobody's way.
func TestSubscriptionThatHasEndedElsewhere(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(s *shop, id, card string) (service.Account, error){
		"cancel": func(s *shop, id, _ string) (service.Account, error) {
			return s.CancelSubscription(context.Background(), id, false)
		},
		"cancel at period end": func(s *shop, id, _ string) (service.Account, error) {
			return s.CancelSubscription(context.Background(), id, true)
		},
		"another tier": func(s *shop, id, card string) (service.Account, error) { return s.subscribe(id, "team", card, "2") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			id, card := s.customer()
			_, err := s.subscribe(id, "pro", card, "1")
			require.NoError(t, err)
			s.bank.set(s.bank.live(id)[0].ID, func(s *service.Subscription) { s.Status = service.Ended })
			account, err := act(s, id, card)
			require.NoError(t, err)
			if name == "another tier" {
				require.Equal(t, "team", account.Tier)
				require.Len(t, s.bank.live(id), 1)
				return
			}
			require.Equal(t, "free none false", s.on(id))
		})
	}
}

func TestSubscribeAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		id, card := s.customer()
		processes := []*service.Billing{s.Billing, s.another(), s.another()}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				// Some with the same key, some with one of their own.
				account, err := processes[i%3].SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "pro", Card: card, Key: fmt.Sprint(i / 2)})
				assert.NoError(t, err)
				assert.Equal(t, "pro", account.Tier)
			})
		}
		wg.Wait()
		require.Equal(t, 1, s.bank.made())
		require.Len(t, s.bank.live(id), 1)
		require.Equal(t, []string{"free>pro"}, s.changes())
	})
}

// Whatever is broken off wherever, the call that is made again, or Resume in another process, ends it; and there is one
// subscription and one event.
func TestCrashes(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		for _, call := range []string{"subscribe", "change", "cancel", "cancel at period end", "commit"} {
			for _, mode := range []string{"lost", "unanswered"} {
				for _, healing := range []string{"same call", "resume", "other call", "resume after a day"} {
					crash(t, s, call, mode == "lost", healing)
				}
			}
		}
	})
}

// crash has one call broken off and mended.
func crash(t *testing.T, s *shop, call string, lost bool, healing string) {
	t.Helper()
	what := fmt.Sprintf("%s, lost: %t, then %s", call, lost, healing)
	s.outbox.take()
	id, card := s.customer()
	other := s.bank.addCard(id)
	act, want := func() error { _, err := s.subscribe(id, "pro", card, "1"); return err }, "pro active false"
	changes := []string{"free>pro"}
	if call != "subscribe" && call != "commit" {
		require.NoError(t, act(), what)
		s.outbox.take()
	}
	switch call {
	case "change":
		act, want = func() error { _, err := s.subscribe(id, "team", other, "2"); return err }, "team active false"
		changes = []string{"pro>team"}
	case "cancel":
		act = func() error { _, err := s.CancelSubscription(t.Context(), id, false); return err }
		want, changes = "free none false", []string{"pro>free"}
	case "cancel at period end":
		act = func() error { _, err := s.CancelSubscription(t.Context(), id, true); return err }
		want, changes = "pro active true", nil
	}
	before := s.bank.made()
	if call == "commit" {
		s.outbox.fail(stderrors.New("killed"))
	} else {
		s.bank.fault = func(c, _ string) (bool, bool) { return c == call && lost, c == call && !lost }
	}
	require.Error(t, act(), what)
	s.bank.fault = nil
	s.outbox.fail(nil)

	switch healing {
	case "same call":
		require.NoError(t, act(), what)
	case "resume":
		require.NoError(t, s.another().Resume(t.Context()), what)
		s.clock.Turn(time.Minute)
		require.NoError(t, s.another().Resume(t.Context()), what)
	case "resume after a day":
		s.clock.Turn(25 * time.Hour)
		s.bank.forget()
		require.NoError(t, s.another().Resume(t.Context()), what)
	case "other call":
		// It asks for what there will be already.
		_, err := s.another().SubscribeTier(t.Context(), service.Subscribe{CustomerID: id, Tier: "gift", Key: "3"})
		require.NoError(t, err, what)
		require.Equal(t, "gift none false", s.on(id), what)
		require.Empty(t, s.bank.live(id), what)
		return
	}
	if healing == "resume after a day" && lost && (call == "subscribe" || call == "change") {
		// So late nobody is charged any more.
		want, changes = map[string]string{"subscribe": "free none false", "change": "pro active false"}[call], nil
	}
	require.Zero(t, s.pending(), what)
	require.Equal(t, want, s.on(id), what)
	require.Equal(t, changes, s.changes(), what)
	require.LessOrEqual(t, len(s.bank.live(id)), 1, what)
	if (call == "subscribe" || call == "commit") && want != "free none false" {
		require.Equal(t, before+1, s.bank.made(), what)
	}
}

// A subscription that was made, and has ended before anybody knew of it, is not what was asked for.
func TestEndedBeforeItWasKnown(t *testing.T) {
	t.Parallel()
	s := setup(t)
	id, card := s.customer()
	s.bank.fault = func(string, string) (bool, bool) { return false, true }
	_, err := s.subscribe(id, "pro", card, "1")
	requireError(t, err, errors.KindUnavailable, "away")
	s.bank.fault = nil
	s.bank.set(s.bank.live(id)[0].ID, func(s *service.Subscription) { s.Status = service.Ended })
	for range 2 {
		_, err = s.subscribe(id, "pro", card, "1")
		requireError(t, err, errors.KindConflict, "the subscription has ended meanwhile")
	}
	require.Equal(t, "free none false", s.on(id))
	_, err = s.subscribe(id, "pro", card, "2")
	require.NoError(t, err)
	require.Len(t, s.bank.live(id), 1)
}
