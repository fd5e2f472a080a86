package service

import (
	"context"
	stderrors "errors"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// orderable is for how long an operation may have the provider charge a card. Who has waited longer has forgotten it, or
	// has gone elsewhere: after that it is only looked for. It is far less than a day, for which the provider knows our keys.
	orderable = 15 * time.Minute
	// underway is how long a call may be on its way to the provider, with all that our client repeats of it: what is not
	// there so long after the last one could have been made was not done.
	underway = 3 * time.Minute
)

// carryOut has the payment provider do what an operation asks for, and ends the operation. When nobody knows whether
// anything was done it has not ended, stays pending, and the error says so.
func (b *Billing) carryOut(ctx context.Context, o *operation) (account Account, ended bool, err error) {
	if b.payments == nil {
		return Account{}, false, errNoPayments()
	}
	account, err = findAccount(ctx, b.db.Read(), o.customerID, "")
	if err != nil {
		return Account{}, false, err
	}
	subscription, err := b.ask(ctx, &account, o)
	if stderrors.Is(err, ErrNoAccess) && !o.again {
		// Asked again, it says nothing of what was done the time before.
		err = errors.Unavailable("nothing was done: the payment provider lets the operator do nothing at the moment: " +
			"call again later, with another idempotency_key if there is one").WithCause(err)
	} else if err != nil && !errors.Permanent(err) && !refused(ctx, err) {
		return Account{}, false, err
	}
	return b.finish(ctx, o, subscription, err)
}

// refused says whether an error of no kind of ours is the provider's refusal, and not the end of our own patience.
func refused(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.KindOf(err) == errors.KindInternal
}

// ask asks the payment provider, under names that come from the operation, and about no subscription but the operation's. The
// subscription is empty when there is none after it.
func (b *Billing) ask(ctx context.Context, account *Account, o *operation) (Subscription, error) {
	switch {
	case account.subscription != "" && account.subscription != o.subscription:
		return Subscription{}, anotherMeanwhile()
	case o.kind == cancel || o.kind == subscribe && o.priceID == "":
		if account.subscription == "" {
			return Subscription{}, nil
		}
		err := b.payments.CancelSubscription(ctx, o.subscription, o.id+"/cancel")
		if noSubscription(err) {
			err = nil
		}
		return Subscription{}, err
	case o.kind == cancelAtPeriodEnd:
		if account.subscription == "" {
			return Subscription{}, nil
		}
		s, err := b.payments.CancelAtPeriodEnd(ctx, o.subscription, o.id+"/cancel-at-period-end")
		if noSubscription(err) {
			return Subscription{}, nil
		}
		return s, err
	case o.again && (account.Closed || account.subscription != o.subscription || b.now().Sub(o.created) > orderable):
		return b.lookFor(ctx, account, o)
	case account.subscription != o.subscription:
		return Subscription{}, endedMeanwhile()
	case o.subscription == "":
		return b.create(ctx, account, o)
	}
	s, err := b.payments.ChangeSubscription(ctx, o.subscription,
		SubscriptionChange{PriceID: o.priceID, Card: o.card, Operation: o.id}, o.id+"/change")
	if !noSubscription(err) {
		return b.afresh(ctx, o, s, err)
	}
	// It has ended unknown to us, or somebody else has carried the operation out and it was cancelled after that.
	current, err := findOperation(ctx, b.db.Read(), `id = $1`, o.id)
	switch {
	case err != nil:
		return Subscription{}, errors.Unavailable("the operation cannot be read: call again, with the same idempotency_key").WithCause(err)
	case current == nil || current.state != pending:
		return Subscription{}, endedMeanwhile()
	}
	return b.create(ctx, account, o)
}

// lookFor finds out what was done for an operation that is not to be carried out any more.
func (b *Billing) lookFor(ctx context.Context, account *Account, o *operation) (Subscription, error) {
	s, err := b.payments.FindSubscription(ctx, account.stripeCustomer, o.id)
	switch {
	case err != nil:
		return Subscription{}, err
	case s.ID == "" && b.now().Sub(o.created) <= orderable+underway:
		return Subscription{}, errors.Unavailable("nobody knows yet whether it was done: call again, with the same idempotency_key")
	case s.ID == "":
		return Subscription{}, errors.Conflict("",
			"nothing was done, as the payment provider has not answered in time: subscribe again, with another idempotency_key")
	case s.Status == Ended:
		return Subscription{}, endedMeanwhile()
	}
	return s, nil
}

// create makes a subscription. Under the same key the provider makes it once.
func (b *Billing) create(ctx context.Context, account *Account, o *operation) (Subscription, error) {
	s, err := b.payments.Subscribe(ctx, NewSubscription{
		CustomerID: o.customerID, ProvidersCustomer: account.stripeCustomer, PriceID: o.priceID, Card: o.card, Operation: o.id,
	}, o.id+"/create")
	return b.afresh(ctx, o, s, err)
}

// afresh returns a subscription as it is now: the provider answers the same call as it did before, word for word. One that has
// ended meanwhile is not what was asked for.
func (b *Billing) afresh(ctx context.Context, o *operation, s Subscription, err error) (Subscription, error) {
	if err == nil && o.again {
		s, err = b.payments.Subscription(ctx, s.ID)
	}
	if err == nil && s.Status == Ended || noSubscription(err) {
		return Subscription{}, endedMeanwhile()
	}
	return s, err
}

func endedMeanwhile() error {
	return errors.Conflict("", "the subscription has ended meanwhile: subscribe again, with another idempotency_key")
}

func anotherMeanwhile() error {
	return errors.Conflict("", "there is another subscription by now: look at the account, and call again with another idempotency_key if need be")
}

func noSubscription(err error) bool {
	e, ok := asError(err)
	return ok && e.Kind == errors.KindNotFound && e.Field == "subscription"
}

// finish writes what has become of an operation: the account, the event and the answer. Of several who finish the same one,
// the first does, and the others answer the same.
func (b *Billing) finish(ctx context.Context, o *operation, s Subscription, refusal error) (account Account, ended bool, err error) {
	var before *operation
	var outcome error
	err = b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		before, outcome = nil, refusal
		var err error
		if account, err = b.lock(ctx, tx, o.customerID); err != nil {
			return err
		}
		current, err := findOperation(ctx, tx, `id = $1`, o.id)
		if err != nil {
			return err
		}
		if current == nil || current.state != pending {
			before = current
			return nil
		}
		if outcome == nil {
			outcome = o.overtaken(&account, s)
		}
		if outcome != nil {
			return endOperation(ctx, tx, o.id, failed, refusalOf(outcome))
		}
		tier := account.Tier
		o.apply(&account, s)
		if err := b.change(ctx, tx, tier, &account, o.callerID); err != nil {
			return err
		}
		return endOperation(ctx, tx, o.id, done, answerOf(account))
	})
	switch {
	case err != nil:
		return Account{}, false, err
	case before != nil:
		account, err = before.replay()
		return account, true, err
	case outcome != nil:
		return Account{}, true, outcome
	}
	return account, true, nil
}

// overtaken says what keeps an account from what an operation has led to: it has not the subscription any more that it had when
// the operation was begun.
func (o *operation) overtaken(account *Account, s Subscription) error {
	switch {
	case account.subscription == o.subscription:
		return nil
	case account.subscription != "":
		return anotherMeanwhile()
	case s.ID != "" && s.ID == o.subscription:
		return endedMeanwhile()
	}
	return nil
}

// apply gives an account what an operation has led to.
func (o *operation) apply(account *Account, s Subscription) {
	switch {
	case s.ID == "" || s.Status == Ended:
		account.end()
		if o.kind == subscribe && o.priceID == "" {
			account.Tier = o.tier
		}
	case o.kind == subscribe:
		account.subscribed(s)
		account.Tier, account.card = o.tier, o.card
	default:
		account.subscribed(s)
	}
}
