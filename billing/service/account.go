package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Account is what billing knows of a customer.
type Account struct {
	CustomerID string // a UUID, in lower case
	Tier       string
	Status     Status
	// PeriodEnd is until when the subscription is paid for; zero without one.
	PeriodEnd time.Time
	// CancelAtPeriodEnd says that the subscription ends then.
	CancelAtPeriodEnd bool
	// Closed says that the customer is deleted: nothing is sold to them.
	Closed bool

	stripeCustomer string
	subscription   string
	card           string
	version        int64
	// erased says that nothing may be written down of the customer any more.
	erased bool
}

// ReadAccount returns a customer's account. Somebody of whom nothing is known is on the tier free: perhaps the news of them
// is still on its way.
func (b *Billing) ReadAccount(ctx context.Context, customerID string) (Account, error) {
	id, err := parseID("id", customerID)
	if err != nil {
		return Account{}, err
	}
	return findAccount(ctx, b.db.Read(), id, "")
}

// Open makes an account for a customer, in a transaction of the caller's. One that there is already stays as it is.
func (b *Billing) Open(ctx context.Context, tx database.Querier, customerID string) error {
	id, err := parseID("customer.id", customerID)
	if err != nil {
		return err
	}
	return insertAccount(ctx, tx, id, b.now())
}

// Close notes, in a transaction of the caller's, that a customer is deleted: nothing is sold to them any more, and Resume
// ends their subscription. Of Reopen and Close the last one counts.
func (b *Billing) Close(ctx context.Context, tx database.Querier, customerID string) error {
	return b.setClosed(ctx, tx, customerID, true)
}

// Reopen notes that a customer is back. Their subscription is not: it has to be bought again.
func (b *Billing) Reopen(ctx context.Context, tx database.Querier, customerID string) error {
	return b.setClosed(ctx, tx, customerID, false)
}

func (b *Billing) setClosed(ctx context.Context, tx database.Querier, customerID string, closed bool) error {
	id, err := parseID("customer.id", customerID)
	if err != nil {
		return err
	}
	account, err := b.lock(ctx, tx, id)
	if err != nil || account.Closed == closed {
		return err
	}
	account.Closed = closed
	return b.save(ctx, tx, &account)
}

// lock returns an account to be changed in the transaction, and makes it if there is none. Whoever else wants to change
// anything of the customer waits.
func (b *Billing) lock(ctx context.Context, tx database.Querier, id string) (Account, error) {
	if err := insertAccount(ctx, tx, id, b.now()); err != nil {
		return Account{}, err
	}
	return findAccount(ctx, tx, id, "FOR UPDATE")
}

// save replaces an account that the transaction has locked.
func (b *Billing) save(ctx context.Context, tx database.Querier, account *Account) error {
	account.version++
	return updateAccount(ctx, tx, account, b.now())
}

// end takes the subscription from an account.
func (a *Account) end() {
	a.Tier, a.Status, a.subscription, a.card, a.PeriodEnd, a.CancelAtPeriodEnd = Free, None, "", "", time.Time{}, false
}

// subscribed gives an account what the provider says of its subscription.
func (a *Account) subscribed(s Subscription) {
	a.subscription, a.Status, a.PeriodEnd, a.CancelAtPeriodEnd = s.ID, s.Status, s.PeriodEnd, s.CancelAtPeriodEnd
}

// change saves an account that the transaction has locked, and tells of it if the tier is another one than before.
func (b *Billing) change(ctx context.Context, tx database.Querier, before string, account *Account, callerID string) error {
	if err := b.save(ctx, tx, account); err != nil || account.Tier == before {
		return err
	}
	tier, _ := b.tier(account.Tier)
	return b.publish(ctx, tx, account.CustomerID, callerID, &customersevents.Event{
		Type: customersevents.EventType_EventTypeSubscriptionChanged,
		SubscriptionChanged: &customersevents.SubscriptionChanged{
			PreviousTier: before, Tier: account.Tier, MonthlyQuota: tier.MonthlyQuota, RateLimit: tier.RateLimit,
		},
	})
}

// publish adds an event about a customer. Billing's events of a customer are in an order of their own.
func (b *Billing) publish(ctx context.Context, tx database.Querier, id, callerID string, e *customersevents.Event) error {
	e.Customer, e.CallerId = &customersevents.Customer{Id: id}, callerID
	return b.outbox.Add(ctx, tx, events.Draft{Topic: customersevents.Topic, Message: e, Aggregate: "billing/" + id})
}

func caller(ctx context.Context) string { return auth.CallerFrom(ctx).ID }
