package service_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/fakes"
	"github.com/m3o/backend/pkg/errors"
)

// bank is a payment provider in memory that does what Stripe promises: the same key is the same call, and is answered as it
// was the first time.
type bank struct {
	mu sync.Mutex
	// fault decides what becomes of a call that changes something: whether it has its effect, and whether its answer arrives.
	fault func(call, key string) (lost, unanswered bool)
	// declined are cards that are not charged.
	declined map[string]bool

	n             int
	answers       map[string]any
	customers     map[string]string // theirs by ours
	cards         map[string][]service.Card
	detached      map[string]bool
	subscriptions map[string]*contract
	calls         []string
}

type contract struct {
	service.Subscription
	customer, operation, card string
}

func newBank() *bank {
	return &bank{
		answers: make(map[string]any), customers: make(map[string]string), cards: make(map[string][]service.Card),
		subscriptions: make(map[string]*contract), declined: make(map[string]bool), detached: make(map[string]bool),
	}
}

var (
	errAway     = errors.Unavailable("the provider is away")
	errDeclined = errors.PaymentRequired("declined")
	errNone     = errors.NotFound("subscription", "it has ended")
)

// do carries out a call that changes something.
func do[T any](b *bank, call, key string, f func() (T, error)) (T, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var none T
	if key == "" {
		return none, fmt.Errorf("%s without a key", call)
	}
	b.calls = append(b.calls, call)
	lost, unanswered := false, false
	if b.fault != nil {
		lost, unanswered = b.fault(call, key)
	}
	if lost {
		return none, errAway
	}
	type answer struct {
		value T
		err   error
	}
	before, ok := b.answers[call+key].(answer)
	if !ok {
		value, err := f()
		before = answer{value, err}
		b.answers[call+key] = before
	}
	if unanswered {
		return none, errAway
	}
	return before.value, before.err
}

func (b *bank) id(prefix string) string {
	b.n++
	return fmt.Sprintf("%s_%03d", prefix, b.n)
}

// addCard gives a customer of ours a card at the bank.
func (b *bank) addCard(customerID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	card := service.Card{ID: b.id("pm"), Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}
	theirs := b.customers[customerID]
	b.cards[theirs] = append(b.cards[theirs], card)
	return card.ID
}

// set changes a subscription as the bank does by itself.
func (b *bank) set(id string, f func(s *service.Subscription)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.subscriptions[id].Subscription)
}

// live are the subscriptions that somebody pays for, of a customer of theirs.
func (b *bank) live(customerID string) []contract {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []contract
	for _, s := range b.subscriptions {
		if s.customer == b.customers[customerID] && s.Status != service.Ended {
			all = append(all, *s)
		}
	}
	return all
}

// made is how many subscriptions there have ever been.
func (b *bank) made() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subscriptions)
}

// forget forgets the keys, as Stripe does after a day.
func (b *bank) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.answers)
}

func (b *bank) count(call string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, c := range b.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (b *bank) get(id string) (*contract, error) {
	s, ok := b.subscriptions[id]
	if !ok || s.Status == service.Ended {
		return nil, errNone
	}
	return s, nil
}

func (b *bank) lives(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.get(id)
	return err == nil
}

// fake is the bank as the core sees it.
func (b *bank) fake() *fakes.FakePayments {
	f := &fakes.FakePayments{}
	f.CreateCustomerCalls(func(_ context.Context, customerID, key string) (string, error) {
		return do(b, "customer", key, func() (string, error) {
			b.customers[customerID] = b.id("cus")
			return b.customers[customerID], nil
		})
	})
	f.CreateSetupCalls(func(_ context.Context, theirs, _, key string) (string, error) {
		return do(b, "setup", key, func() (string, error) { return theirs + "_secret", nil })
	})
	f.CardsCalls(func(_ context.Context, theirs string) ([]service.Card, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		var there []service.Card
		for _, c := range b.cards[theirs] {
			if !b.detached[c.ID] {
				there = append(there, c)
			}
		}
		return there, nil
	})
	f.DetachCardCalls(func(_ context.Context, card, key string) error {
		_, err := do(b, "detach", key, func() (bool, error) {
			b.detached[card] = true
			return true, nil
		})
		return err
	})
	f.SubscribeCalls(func(_ context.Context, n service.NewSubscription, key string) (service.Subscription, error) {
		return do(b, "subscribe", key, func() (service.Subscription, error) {
			if b.declined[n.Card] {
				return service.Subscription{}, errDeclined
			}
			s := service.Subscription{ID: b.id("sub"), Status: service.Active, PriceID: n.PriceID, PeriodEnd: start.Truncate(time.Second).AddDate(0, 1, 0)}
			b.subscriptions[s.ID] = &contract{Subscription: s, customer: n.ProvidersCustomer, operation: n.Operation, card: n.Card}
			return s, nil
		})
	})
	f.FindSubscriptionCalls(func(_ context.Context, theirs, operation string) (service.Subscription, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.subscriptions {
			if s.customer == theirs && s.operation == operation {
				return s.Subscription, nil
			}
		}
		return service.Subscription{}, nil
	})
	f.ChangeSubscriptionCalls(func(_ context.Context, id string, c service.SubscriptionChange, key string) (service.Subscription, error) {
		// The client looks at it first, whatever was answered to the key before.
		if !b.lives(id) {
			return service.Subscription{}, errNone
		}
		return do(b, "change", key, func() (service.Subscription, error) {
			s, err := b.get(id)
			switch {
			case err != nil:
				return service.Subscription{}, err
			case b.declined[c.Card]:
				return service.Subscription{}, errDeclined
			}
			s.PriceID, s.card, s.operation, s.CancelAtPeriodEnd, s.Status = c.PriceID, c.Card, c.Operation, false, service.Active
			return s.Subscription, nil
		})
	})
	f.CancelAtPeriodEndCalls(func(_ context.Context, id, key string) (service.Subscription, error) {
		return do(b, "cancel at period end", key, func() (service.Subscription, error) {
			s, err := b.get(id)
			if err != nil {
				return service.Subscription{}, err
			}
			s.CancelAtPeriodEnd = true
			return s.Subscription, nil
		})
	})
	f.CancelSubscriptionCalls(func(_ context.Context, id, key string) error {
		_, err := do(b, "cancel", key, func() (bool, error) {
			s, err := b.get(id)
			if err != nil {
				return false, err
			}
			s.Status = service.Ended
			return true, nil
		})
		return err
	})
	f.SubscriptionCalls(func(_ context.Context, id string) (service.Subscription, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s, ok := b.subscriptions[id]; ok {
			return s.Subscription, nil
		}
		return service.Subscription{}, errNone
	})
	return f
}
