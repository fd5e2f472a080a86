package service

import (
	"context"
	stderrors "errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// Subscribe says what to subscribe to.
type Subscribe struct {
	CustomerID string
	Tier       string
	// Card is the customer's own; not needed where the tier costs nothing.
	Card string
	// Key names the call.
	Key string
}

// SubscribeTier puts a customer on a tier and returns the account after it. A call with the same key changes nothing and is
// answered as it was the first time, or finds out what became of that; with another tier or card it is a conflict.
func (b *Billing) SubscribeTier(ctx context.Context, s Subscribe) (Account, error) {
	id, err := parseID("customer_id", s.CustomerID)
	if err != nil {
		return Account{}, err
	}
	if err := s.check(); err != nil {
		return Account{}, err
	}
	tier, ok := b.tier(s.Tier)
	if !ok {
		return Account{}, errors.NotFound("id", "there is no such tier")
	}
	if tier.Price > 0 {
		if s.Card == "" {
			return Account{}, errors.Invalid("card_id", "required for a tier that costs something")
		}
		if err := b.canSell(tier); err != nil {
			return Account{}, err
		}
	}
	fresh := operation{
		customerID: id, key: s.Key, digest: digestOf(s.Tier, s.Card), kind: subscribe, tier: s.Tier, callerID: caller(ctx),
	}
	if tier.Price > 0 {
		fresh.priceID, fresh.card = tier.PriceID, s.Card
	}
	account, err := b.operate(ctx, fresh)
	if !stderrors.Is(err, errUnknownCard) {
		return account, err
	}
	// It may be one that no webhook has told of.
	if err := b.syncCards(ctx, id); err != nil {
		return Account{}, err
	}
	account, err = b.operate(ctx, fresh)
	if stderrors.Is(err, errUnknownCard) {
		return Account{}, noSuchCard("card_id")
	}
	return account, err
}

func (s Subscribe) check() error {
	if err := checkTierID("id", s.Tier); err != nil {
		return err
	}
	if s.Card != "" {
		if err := checkCardID("card_id", s.Card); err != nil {
			return err
		}
	}
	return checkKey("idempotency_key", s.Key)
}

// canSell says what keeps a tier that costs something from being sold.
func (b *Billing) canSell(tier Tier) error {
	switch {
	case b.payments == nil:
		return errNoPayments()
	case tier.PriceID == "":
		return errors.Unavailable("this tier cannot be subscribed to yet: the operator has given it no price_id")
	}
	return nil
}

func errNoPayments() error {
	return errors.Unavailable("nothing can be paid for: the operator has configured no payment provider")
}

// CancelSubscription puts a customer back on the tier free, at once or when what is paid for ends, and returns the account
// after it.
func (b *Billing) CancelSubscription(ctx context.Context, customerID string, atPeriodEnd bool) (Account, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return Account{}, err
	}
	kind := cancel
	if atPeriodEnd {
		kind = cancelAtPeriodEnd
	}
	return b.operate(ctx, operation{customerID: id, kind: kind, callerID: caller(ctx)})
}

// errUnknownCard says that a card is not among those that are known of the customer.
var errUnknownCard = stderrors.New("the card is not known to be the customer's")

// maxRounds is how many operations of others of the same customer an operation waits for.
const maxRounds = 10

// operate carries out an operation, after those of the customer that were begun before, and returns the account after it.
func (b *Billing) operate(ctx context.Context, fresh operation) (Account, error) {
	release, err := b.turns.take(ctx, fresh.customerID)
	if err != nil {
		return Account{}, err
	}
	defer release()
	for range maxRounds {
		next, account, err := b.begin(ctx, fresh)
		if err != nil || next == nil {
			return account, err
		}
		own := fresh.key == "" && !next.again || fresh.key != "" && fresh.key == next.key
		account, ended, err := b.carryOut(ctx, next)
		// What was refused to an operation of before is not this one's refusal.
		if own || !ended {
			return account, err
		}
		logRefusal(next, err)
	}
	return Account{}, errors.Unavailable("other calls about the same subscription come first: call again with the same idempotency_key")
}

// begin writes an operation down and returns it; or the one of the customer's that has to be carried out before; or, if
// there is nothing to carry out, nil and what to answer.
func (b *Billing) begin(ctx context.Context, fresh operation) (next *operation, account Account, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, Account{}, fmt.Errorf("make an id: %w", err)
	}
	err = b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		next = nil
		var err error
		if account, err = b.lock(ctx, tx, fresh.customerID); err != nil {
			return err
		}
		now := b.now()
		if fresh.key != "" {
			before, err := findOperation(ctx, tx, `customer_id = $1 AND idempotency_key = $2`, fresh.customerID, fresh.key)
			if err != nil {
				return err
			}
			if before != nil {
				next = before
				return b.repeated(ctx, tx, before, fresh.digest)
			}
		}
		if next, err = findOperation(ctx, tx, `customer_id = $1 AND state = $2`, fresh.customerID, pending); err != nil {
			return err
		}
		if next != nil {
			next.again = true
			return tryOperation(ctx, tx, next.id, now)
		}
		o := fresh
		o.id, o.created, o.state, o.subscription = id.String(), now, pending, account.subscription
		if o.key == "" {
			o.key = o.id
		}
		asks, err := b.applies(ctx, tx, &account, &o)
		if err != nil {
			return err
		}
		if asks {
			next = &o
			return insertOperation(ctx, tx, &o)
		}
		return b.settled(ctx, tx, &account, &o, fresh.key != "")
	})
	if err != nil {
		return nil, Account{}, err
	}
	if next != nil && next.state != pending {
		account, err = next.replay()
		return nil, account, err
	}
	return next, account, nil
}

// repeated checks a call whose key was used before.
func (b *Billing) repeated(ctx context.Context, tx database.Querier, before *operation, digest string) error {
	if before.digest != digest {
		return errors.Conflict("idempotency_key", "names another call: give each call a key of its own")
	}
	before.again = true
	if before.state != pending {
		return nil
	}
	return tryOperation(ctx, tx, before.id, b.now())
}

// applies says whether the payment provider has to be asked for an operation. It refuses what does not fit the account.
func (b *Billing) applies(ctx context.Context, tx database.Querier, account *Account, o *operation) (bool, error) {
	switch {
	case o.kind == cancelAtPeriodEnd:
		return account.subscription != "" && !account.CancelAtPeriodEnd, nil
	case o.kind == cancel:
		return account.subscription != "", nil
	case account.Closed:
		return false, errors.Conflict("customer_id", "the customer is deleted: nothing is sold to them")
	case o.priceID == "":
		return account.subscription != "", nil
	}
	card, err := hasCard(ctx, tx, o.customerID, o.card)
	if err != nil {
		return false, err
	}
	if !card {
		return false, errUnknownCard
	}
	same := account.subscription != "" && account.Tier == o.tier && account.card == o.card &&
		account.Status == Active && !account.CancelAtPeriodEnd
	return !same, nil
}

// settled ends, in the transaction in which it would begin, what the provider need not be asked for.
func (b *Billing) settled(ctx context.Context, tx database.Querier, account *Account, o *operation, remember bool) error {
	before := account.Tier
	switch {
	case o.kind == subscribe:
		account.Tier = o.tier
	case o.kind == cancel && account.subscription == "":
		account.Tier = Free
	case o.kind == cancelAtPeriodEnd && account.subscription == "":
		account.Tier = Free // nothing is paid for
	}
	if account.Tier != before {
		if err := b.change(ctx, tx, before, account, o.callerID); err != nil {
			return err
		}
	}
	if !remember {
		return nil
	}
	if err := insertOperation(ctx, tx, o); err != nil {
		return err
	}
	return endOperation(ctx, tx, o.id, done, answerOf(*account))
}
