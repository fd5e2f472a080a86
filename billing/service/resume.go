package service

import (
	"context"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// abandoned is how long an operation is left to whoever has begun it.
	abandoned = 30 * time.Second
	// resumeAtOnce is how much is seen to in one go.
	resumeAtOnce = 50
	// settling is how long the provider may take to renew or end a subscription at its time before it is asked, and how long
	// it is left alone after that.
	settling = time.Hour
	// kept is for how long idempotency keys and the ids of webhooks are remembered. Stripe repeats a webhook for three days.
	kept = 30 * 24 * time.Hour
	// sweepAtOnce is how many rows are forgotten in one transaction.
	sweepAtOnce = 1000
)

// Resume ends what others have begun and not ended: operations, the subscriptions of customers who are deleted, and cards
// that were removed and that the payment provider still has. What fails is tried again at a later call, after what has waited
// longer.
func (b *Billing) Resume(ctx context.Context) error {
	if b.payments == nil {
		return nil
	}
	return stderrors.Join(b.resumeOperations(ctx), b.endClosed(ctx), b.detachCards(ctx))
}

func (b *Billing) resumeOperations(ctx context.Context) error {
	ids, err := accountsOf(ctx, b.db.Read(), `billing_operations WHERE state = $1 AND tried < $2 ORDER BY tried LIMIT $3`,
		pending, b.now().Add(-abandoned).UnixMicro(), resumeAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := b.resume(ctx, id); err != nil {
			logger.Warnf("An operation of customer %s is tried again later: %s", id, withCause(err))
		}
	}
	return ctx.Err()
}

// resume carries out the pending operation of a customer. A refusal ends it, and is no error here.
func (b *Billing) resume(ctx context.Context, id string) error {
	release, err := b.turns.take(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	var o *operation
	err = b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if o, err = findOperation(ctx, tx, `customer_id = $1 AND state = $2`, id, pending); err != nil || o == nil {
			return err
		}
		o.again = true
		return tryOperation(ctx, tx, o.id, b.now())
	})
	if err != nil || o == nil {
		return err
	}
	_, ended, err := b.carryOut(ctx, o)
	if !ended {
		return err
	}
	logRefusal(o, err)
	return nil
}

// logRefusal notes why an operation was refused that is not the caller's, who therefore does not learn of it.
func logRefusal(o *operation, err error) {
	if err != nil {
		logger.Warnf("Operation %s of customer %s (%s) was refused: %s", o.id, o.customerID, o.kind, withCause(err))
	}
}

// withCause is an error in words for the log: what it says to a caller, and why. A cause repeats nothing that the provider
// has said in words.
func withCause(err error) string {
	if e, ok := stderrors.AsType[*errors.Error](err); ok && e.Cause != nil {
		return fmt.Sprintf("%v: %v", e, e.Cause)
	}
	return err.Error()
}

// endClosed cancels the subscriptions of customers who are deleted.
func (b *Billing) endClosed(ctx context.Context) error {
	ids, err := accountsOf(ctx, b.db.Read(),
		`billing_accounts WHERE closed = 1 AND subscription <> '' ORDER BY looked, customer_id LIMIT $1`, resumeAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := b.looked(ctx, id)
		if err == nil {
			_, err = b.CancelSubscription(ctx, id, false)
		}
		if err != nil {
			logger.Warnf("The subscription of customer %s, who is deleted, is cancelled later: %s", id, withCause(err))
		}
	}
	return ctx.Err()
}

// detachCards tells the provider of cards that were removed.
func (b *Billing) detachCards(ctx context.Context) error {
	rows, err := b.db.Read().Query(ctx, `
		SELECT customer_id, card_id FROM billing_cards WHERE removed > 0 AND detached = 0 ORDER BY tried, removed LIMIT $1`, resumeAtOnce)
	if err != nil {
		return fmt.Errorf("list removed cards: %w", err)
	}
	defer rows.Close()
	var all [][2]string
	for rows.Next() {
		var card [2]string
		if err := rows.Scan(&card[0], &card[1]); err != nil {
			return fmt.Errorf("list removed cards: %w", err)
		}
		all = append(all, card)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list removed cards: %w", err)
	}
	for _, card := range all {
		b.detach(ctx, card[0], card[1])
	}
	return ctx.Err()
}

// detach tells the provider of a card that was removed. When that fails it is done later.
func (b *Billing) detach(ctx context.Context, id, cardID string) {
	if b.payments == nil {
		return
	}
	note := func(set string, value int64) error {
		return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, `UPDATE billing_cards SET `+set+` = $3 WHERE customer_id = $1 AND card_id = $2`, id, cardID, value)
			return err
		})
	}
	err := note("tried", b.now().UnixMicro())
	if err == nil {
		err = b.payments.DetachCard(ctx, cardID, "detach/"+id+"/"+cardID)
	}
	if err == nil {
		err = note("detached", 1)
	}
	if err != nil {
		logger.Warnf("A card that customer %s has removed is detached later: %s", id, withCause(err))
	}
}

// EndPeriods asks the provider about subscriptions that are paid for until an hour ago or longer: each has been renewed, has
// failed to be or has ended, and the webhook that should have told of it was lost, or there are none. A subscription that
// stays as it is, or cannot be asked about, is asked about again after an hour, and those that were not yet come first.
func (b *Billing) EndPeriods(ctx context.Context) error {
	if b.payments == nil {
		return nil
	}
	ids, err := accountsOf(ctx, b.db.Read(), `billing_accounts
		WHERE subscription <> '' AND period_end < $1 AND updated < $1 AND looked < $1 ORDER BY looked, period_end LIMIT $2`,
		b.now().Add(-settling).UnixMicro(), resumeAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := b.endPeriod(ctx, id); err != nil {
			logger.Warnf("How the subscription of customer %s is doing is asked later: %s", id, withCause(err))
		}
	}
	return ctx.Err()
}

func (b *Billing) endPeriod(ctx context.Context, id string) error {
	if err := b.looked(ctx, id); err != nil {
		return err
	}
	for range maxRounds {
		account, err := findAccount(ctx, b.db.Read(), id, "")
		if err != nil {
			return err
		}
		effect, err := b.refresh(ctx, account, account.subscription)
		if err != nil || effect == nil {
			return err
		}
		if err := b.db.Tx(ctx, effect); !stderrors.Is(err, errChanged) {
			return err
		}
	}
	return errChanged
}

// looked notes that the provider is asked about an account, before it is.
func (b *Billing) looked(ctx context.Context, id string) error {
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `UPDATE billing_accounts SET looked = $2 WHERE customer_id = $1`, id, b.now().UnixMicro())
		return err
	})
}

// endSubscription puts a customer back on the tier free if it is this subscription that they have.
func (b *Billing) endSubscription(ctx context.Context, tx database.Querier, id, subscription string) error {
	account, err := b.lock(ctx, tx, id)
	if err != nil || account.subscription != subscription {
		return err
	}
	before := account.Tier
	account.end()
	return b.change(ctx, tx, before, &account, caller(ctx))
}

// Sweep forgets idempotency keys and webhooks that nobody repeats any more.
func (b *Billing) Sweep(ctx context.Context) error {
	before := b.now().Add(-kept).UnixMicro()
	for _, query := range []string{
		`DELETE FROM billing_operations WHERE id IN (
			SELECT id FROM billing_operations WHERE state <> 'pending' AND created < $1 ORDER BY created LIMIT $2)`,
		`DELETE FROM billing_webhooks WHERE id IN (
			SELECT id FROM billing_webhooks WHERE received < $1 ORDER BY received LIMIT $2)`,
	} {
		for {
			var n int64
			err := b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
				result, err := tx.Exec(ctx, query, before, sweepAtOnce)
				if err != nil {
					return err
				}
				n, err = result.RowsAffected()
				return err
			})
			if err != nil {
				return fmt.Errorf("forget what nobody repeats: %w", err)
			}
			if n < sweepAtOnce {
				break
			}
		}
	}
	return nil
}
