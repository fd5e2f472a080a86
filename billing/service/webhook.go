package service

import (
	"context"
	stderrors "errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// Webhook takes in what the payment provider tells of. What it tells is a reason to look: how a subscription is doing and
// which cards there are, the provider is asked, because events come late, twice and in any order. Only what cannot be undone
// is taken from an event itself. An event that was taken in before has no effect.
//
// An error of the kind Unavailable has the provider send it again.
func (b *Billing) Webhook(ctx context.Context, body []byte, signature string) error {
	if b.signatures == nil {
		return errors.NotFound("", "there is no webhook: the operator has configured no signing secret")
	}
	if len(body) > maxWebhook {
		return errors.Invalid("body", "must have at most %d bytes", maxWebhook)
	}
	e, err := b.signatures.Verify(body, signature)
	if err != nil {
		return err
	}
	for range maxRounds {
		err := b.takeIn(ctx, e)
		if !stderrors.Is(err, errChanged) {
			return err
		}
	}
	return errors.Unavailable("the subscription changes all the time: send it again")
}

// errChanged says that an account is not any more what it was when the provider was asked.
var errChanged = stderrors.New("the account was changed meanwhile")

func (b *Billing) takeIn(ctx context.Context, e WebhookEvent) error {
	known, err := b.received(ctx, e.ID)
	if err != nil || known {
		return err
	}
	account, err := b.accountOf(ctx, e)
	if err != nil {
		return err
	}
	effect, err := b.effectOf(ctx, account, e)
	if err != nil {
		return err
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		fresh, err := affected(tx.Exec(ctx, `
			INSERT INTO billing_webhooks (id, received) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, e.ID, b.now().UnixMicro()))
		if err != nil {
			return fmt.Errorf("remember a webhook: %w", err)
		}
		if !fresh || effect == nil {
			return nil
		}
		return effect(ctx, tx)
	})
}

func (b *Billing) received(ctx context.Context, id string) (bool, error) {
	var n int
	if err := b.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM billing_webhooks WHERE id = $1`, id).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a webhook: %w", err)
	}
	return n > 0, nil
}

// accountOf returns the account that an event is about; one without an id when it is nobody's. The stand-in has the same ids
// for everybody: what could be about several is about none.
func (b *Billing) accountOf(ctx context.Context, e WebhookEvent) (Account, error) {
	if e.ProvidersCustomer == "" {
		return Account{}, nil
	}
	if uuid.Validate(e.CustomerID) == nil {
		account, err := findAccount(ctx, b.db.Read(), e.CustomerID, "")
		if err != nil || account.stripeCustomer == e.ProvidersCustomer {
			return account, err
		}
		return Account{}, nil
	}
	ids, err := accountsOf(ctx, b.db.Read(), `billing_accounts WHERE stripe_customer = $1 LIMIT 2`, e.ProvidersCustomer)
	if err != nil || len(ids) != 1 {
		return Account{}, err
	}
	return findAccount(ctx, b.db.Read(), ids[0], "")
}

// effect is what an event changes, in the transaction in which it is remembered.
type effect func(ctx context.Context, tx database.Querier) error

// effectOf asks the provider what it has to be asked for an event, and returns what the event changes; nil for nothing.
func (b *Billing) effectOf(ctx context.Context, account Account, e WebhookEvent) (effect, error) {
	if account.CustomerID == "" {
		return nil, nil
	}
	id := account.CustomerID
	switch e.Kind {
	case WebhookSubscriptionEnd:
		return func(ctx context.Context, tx database.Querier) error {
			return b.endSubscription(ctx, tx, id, e.Subscription)
		}, nil
	case WebhookCardRemoved:
		return func(ctx context.Context, tx database.Querier) error {
			if _, err := b.lock(ctx, tx, id); err != nil {
				return err
			}
			_, err := b.removeCard(ctx, tx, id, e.Card, true)
			return err
		}, nil
	case WebhookCardAdded:
		if b.payments == nil {
			return nil, errNoPayments()
		}
		cards, err := b.payments.Cards(ctx, account.stripeCustomer)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, tx database.Querier) error { return b.addCards(ctx, tx, id, cards) }, nil
	case WebhookSubscription:
		return b.refresh(ctx, account, e.Subscription)
	default:
		return nil, nil
	}
}

// refresh asks how a subscription is doing, and gives the account that.
func (b *Billing) refresh(ctx context.Context, account Account, subscription string) (effect, error) {
	if account.subscription == "" || account.subscription != subscription {
		return nil, nil
	}
	if b.payments == nil {
		return nil, errNoPayments()
	}
	s, err := b.payments.Subscription(ctx, subscription)
	if noSubscription(err) {
		s, err = Subscription{ID: subscription, Status: Ended}, nil
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx database.Querier) error {
		current, err := b.lock(ctx, tx, account.CustomerID)
		if err != nil {
			return err
		}
		if current.version != account.version {
			return errChanged
		}
		before := current.Tier
		if s.Status == Ended {
			current.end()
		} else {
			current.subscribed(s)
			// An operator may have changed it in the provider's own pages.
			if tier, ok := b.tierOfPrice(s.PriceID); ok {
				current.Tier = tier.ID
			}
		}
		return b.change(ctx, tx, before, &current, caller(ctx))
	}, nil
}

func (b *Billing) tierOfPrice(priceID string) (Tier, bool) {
	for _, t := range b.tiers {
		if t.PriceID == priceID && priceID != "" {
			return t, true
		}
	}
	return Tier{}, false
}
