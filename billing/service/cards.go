package service

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// SetupCard begins to add a card, and returns the secret that a page finishes it with. Each call begins anew; what is not
// finished, the provider forgets.
func (b *Billing) SetupCard(ctx context.Context, customerID string) (string, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return "", err
	}
	if b.payments == nil {
		return "", errNoPayments()
	}
	account, err := findAccount(ctx, b.db.Read(), id, "")
	if err != nil {
		return "", err
	}
	if account.Closed {
		return "", errDeleted()
	}
	stripeCustomer := account.stripeCustomer
	if stripeCustomer == "" {
		if stripeCustomer, err = b.makeCustomer(ctx, id); err != nil {
			return "", err
		}
	}
	return b.payments.CreateSetup(ctx, stripeCustomer, id, "setup/"+uuid.NewString())
}

func errDeleted() error {
	return errors.Conflict("customer_id", "the customer is deleted: nothing is sold to them")
}

// makeCustomer makes the provider's customer. It is made when it is first needed, so that the provider learns of nobody who
// never pays. Two who do it at once get the same one, as the key is the customer's. One that was made by somebody who died
// before it was written is got again by that key for a day, and is never used after that.
func (b *Billing) makeCustomer(ctx context.Context, id string) (string, error) {
	made, err := b.payments.CreateCustomer(ctx, id, "customer/"+id)
	if err != nil {
		return "", err
	}
	var result string
	err = b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		account, err := b.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if account.erased {
			return errDeleted()
		}
		if account.stripeCustomer == "" {
			account.stripeCustomer = made
			err = b.save(ctx, tx, &account)
		}
		result = account.stripeCustomer
		return err
	})
	return result, err
}

// ListCards returns the cards of a customer, in the order of their ids.
func (b *Billing) ListCards(ctx context.Context, customerID string) ([]Card, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return nil, err
	}
	if err := b.syncCards(ctx, id); err != nil {
		return nil, err
	}
	return listCards(ctx, b.db.Read(), id)
}

// syncCards learns of cards that were added. One that is missing at the provider is not taken for removed: what it answered
// may be older than the card.
func (b *Billing) syncCards(ctx context.Context, id string) error {
	account, err := findAccount(ctx, b.db.Read(), id, "")
	if err != nil || account.stripeCustomer == "" || b.payments == nil {
		return err
	}
	cards, err := b.payments.Cards(ctx, account.stripeCustomer)
	if err != nil || len(cards) == 0 {
		return err
	}
	known, err := allCards(ctx, b.db.Read(), id)
	if err != nil {
		return err
	}
	fresh := cards[:0:0]
	for _, c := range cards {
		if known[c.ID] != c && !known[c.ID].gone() {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error { return b.addCards(ctx, tx, id, fresh) })
}

// addCards writes cards of a customer, and tells of those that are new.
func (b *Billing) addCards(ctx context.Context, tx database.Querier, id string, cards []Card) error {
	// Before the cards, as everybody does, so that nobody waits for each other.
	account, err := b.lock(ctx, tx, id)
	if err != nil || account.erased {
		return err
	}
	for _, c := range cards {
		added, err := insertCard(ctx, tx, id, c, b.now())
		if err != nil {
			return err
		}
		if !added {
			if err := updateCard(ctx, tx, id, c); err != nil {
				return err
			}
			continue
		}
		if err := b.publish(ctx, tx, id, caller(ctx), &customersevents.Event{
			Type:             customersevents.EventType_EventTypeAddPaymentMethod,
			AddPaymentMethod: &customersevents.AddPaymentMethod{CardId: c.ID},
		}); err != nil {
			return err
		}
	}
	return nil
}

// DeleteCard removes a card for good, which then cannot be paid with any more. The provider is told of it after that, by
// Resume if it is away.
func (b *Billing) DeleteCard(ctx context.Context, customerID, cardID string) error {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return err
	}
	if err := checkCardID("id", cardID); err != nil {
		return err
	}
	err = b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		account, err := b.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		there, err := hasCard(ctx, tx, id, cardID)
		if err != nil {
			return err
		}
		if !there {
			return noSuchCard("id")
		}
		begun, err := findOperation(ctx, tx, `customer_id = $1 AND state = $2`, id, pending)
		if err != nil {
			return err
		}
		if account.card == cardID || begun != nil && begun.card == cardID {
			return errors.Conflict("id", "the card pays for the subscription: subscribe with another one or cancel first")
		}
		_, err = b.removeCard(ctx, tx, id, cardID, false)
		return err
	})
	if err != nil {
		return err
	}
	// The card is gone whatever becomes of this.
	b.detach(ctx, id, cardID)
	return nil
}

// removeCard takes a card from a customer and tells of it, and says whether it was there. The account has to be locked.
func (b *Billing) removeCard(ctx context.Context, tx database.Querier, id, cardID string, detached bool) (bool, error) {
	removed, err := affected(tx.Exec(ctx, `
		UPDATE billing_cards SET removed = $3, detached = $4 WHERE customer_id = $1 AND card_id = $2 AND removed = 0`,
		id, cardID, b.now().UnixMicro(), number(detached)))
	if err != nil {
		return false, fmt.Errorf("remove a card: %w", err)
	}
	if !removed {
		return false, nil
	}
	return true, b.publish(ctx, tx, id, caller(ctx), &customersevents.Event{
		Type:                customersevents.EventType_EventTypeDeletePaymentMethod,
		DeletePaymentMethod: &customersevents.DeletePaymentMethod{CardId: cardID},
	})
}
