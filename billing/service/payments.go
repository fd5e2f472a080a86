package service

import (
	"context"
	"errors"
	"time"
)

// ErrNoAccess is the cause of an Unavailable error when the provider does not take our key, or not for this call: this call
// has done nothing, whatever one before it under the same key has.
var ErrNoAccess = errors.New("the payment provider refuses the key of the operator's account")

// Payments is what billing needs of the payment provider. Every call that changes something there has a key: a call with the
// same key and the same arguments is the same call, whoever makes it, and has its effect once, for a day at least.
//
// Errors are those of pkg/errors. A card that is declined is PaymentRequired. NotFound names the field "card_id" or
// "subscription". Unavailable means that nobody knows whether anything was done: the call is to be made again; but see
// ErrNoAccess. Any other error is a refusal, and nothing was done.
type Payments interface {
	// CreateCustomer makes the provider's own customer for one of ours and returns its id.
	CreateCustomer(ctx context.Context, customerID, key string) (string, error)
	// DeleteCustomer deletes the provider's customer, with the cards and the subscription. One who is deleted is no error.
	DeleteCustomer(ctx context.Context, providersCustomer, key string) error
	// CreateSetup begins to add a card to the provider's customer, and returns the secret that a page finishes it with.
	CreateSetup(ctx context.Context, providersCustomer, customerID, key string) (string, error)
	// Cards returns at most 100 cards of the provider's customer, as they are now.
	Cards(ctx context.Context, providersCustomer string) ([]Card, error)
	// DetachCard takes a card from whoever has it. A card that nobody has is no error.
	DetachCard(ctx context.Context, card, key string) error
	// Subscribe makes a subscription, and has the card pay for its first month.
	Subscribe(ctx context.Context, s NewSubscription, key string) (Subscription, error)
	// FindSubscription returns the subscription that was made for an operation, or was last changed for it, as it is now; one
	// without an id when there is none.
	FindSubscription(ctx context.Context, providersCustomer, operation string) (Subscription, error)
	// ChangeSubscription gives a subscription another price and another card, and lets it go on after what is paid for.
	ChangeSubscription(ctx context.Context, id string, c SubscriptionChange, key string) (Subscription, error)
	// CancelAtPeriodEnd lets a subscription end when what is paid for does.
	CancelAtPeriodEnd(ctx context.Context, id, key string) (Subscription, error)
	// CancelSubscription ends a subscription at once.
	CancelSubscription(ctx context.Context, id, key string) error
	// Subscription returns a subscription as it is now.
	Subscription(ctx context.Context, id string) (Subscription, error)
}

// NewSubscription describes a subscription to be.
type NewSubscription struct {
	CustomerID        string // ours
	ProvidersCustomer string
	PriceID           string
	Card              string
	// Operation is what FindSubscription finds it by.
	Operation string
}

// SubscriptionChange describes what a subscription is to become.
type SubscriptionChange struct {
	PriceID string
	Card    string
	// Operation is what FindSubscription finds it by from then on.
	Operation string
}

// Status is how a subscription is doing.
type Status string

// The statuses. Of an account it is one of the first three.
const (
	None    Status = "none"     // there is no subscription
	Active  Status = "active"   // it is paid for
	PastDue Status = "past_due" // a payment has failed; it may be tried again
	Ended   Status = "ended"    // it is over for good
)

// Subscription is what the provider knows of a subscription.
type Subscription struct {
	ID                string
	Status            Status // any but None
	PriceID           string
	PeriodEnd         time.Time
	CancelAtPeriodEnd bool
}

// Card is a card without its number.
type Card struct {
	ID       string
	Brand    string
	Last4    string
	ExpMonth int
	ExpYear  int
}

// Signatures checks what claims to be the provider's.
type Signatures interface {
	// Verify returns the event in the body of a webhook, or an Invalid error when it is not signed, or too long ago, or
	// cannot be read.
	Verify(body []byte, signature string) (WebhookEvent, error)
}

// WebhookKind is what an event of the provider is about.
type WebhookKind int

// The kinds. Of others nothing is done.
const (
	WebhookOther           WebhookKind = iota
	WebhookSubscription                // something of the subscription has changed: what, the provider says when it is asked
	WebhookSubscriptionEnd             // the subscription is over, for good
	WebhookCardAdded                   // the customer has one card more
	WebhookCardRemoved                 // the customer has one card less, for good
)

// WebhookEvent is an event of the provider.
type WebhookEvent struct {
	ID   string
	Kind WebhookKind
	// CustomerID is ours, if the provider remembers it; ProvidersCustomer is the provider's own.
	CustomerID        string
	ProvidersCustomer string
	Subscription      string
	Card              string
}
