package service

import (
	"context"
	"fmt"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
)

// Erase notes, in a transaction of the caller's, that nothing is to be known of a customer, and says whether nothing is known
// now. Else FinishErasures goes on: the payment provider has to be told, or an operation is on its way. From then on nothing is
// sold to them, and no card and no customer of the provider's is written down for them.
func (b *Billing) Erase(ctx context.Context, tx database.Querier, customerID string) (bool, error) {
	id, err := parseID("customer.id", customerID)
	if err != nil {
		return false, err
	}
	account, err := b.lock(ctx, tx, id)
	if err != nil {
		return false, err
	}
	account.Closed, account.erased = true, true
	if account.stripeCustomer == "" {
		begun, err := findOperation(ctx, tx, `customer_id = $1 AND state = $2`, id, pending)
		if err != nil {
			return false, err
		}
		if begun == nil {
			return true, b.wipe(ctx, tx, &account)
		}
	}
	if err := b.save(ctx, tx, &account); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `UPDATE billing_accounts SET erasing = 1 WHERE customer_id = $1`, id); err != nil {
		return false, fmt.Errorf("note that a customer is to be erased: %w", err)
	}
	return false, nil
}

// wipe leaves of a customer an account that says that they are deleted, and nothing else.
func (b *Billing) wipe(ctx context.Context, tx database.Querier, account *Account) error {
	account.end()
	account.stripeCustomer = ""
	if err := b.save(ctx, tx, account); err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM billing_cards WHERE customer_id = $1`,
		`DELETE FROM billing_operations WHERE customer_id = $1`,
		`UPDATE billing_accounts SET erasing = 0 WHERE customer_id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, account.CustomerID); err != nil {
			return fmt.Errorf("erase a customer: %w", err)
		}
	}
	return nil
}

// FinishErasures has the payment provider delete those who are to be erased, and erases what was needed for that. What fails is
// tried again at a later call, after what has waited longer; customers with an operation on its way wait for its end. Each that
// is erased is told to done, in the transaction.
func (b *Billing) FinishErasures(ctx context.Context, done func(ctx context.Context, tx database.Querier, customerID string) error) error {
	ids, err := accountsOf(ctx, b.db.Read(), `billing_accounts WHERE erasing = 1 ORDER BY looked, customer_id LIMIT $1`, resumeAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := b.looked(ctx, id)
		if err == nil {
			err = b.finishErasure(ctx, id, done)
		}
		if err != nil {
			logger.Warnf("Customer %s is erased later: %s", id, withCause(err))
		}
	}
	return ctx.Err()
}

func (b *Billing) finishErasure(
	ctx context.Context, id string, done func(ctx context.Context, tx database.Querier, customerID string) error,
) error {
	account, err := findAccount(ctx, b.db.Read(), id, "")
	if err != nil {
		return err
	}
	if account.stripeCustomer != "" {
		if b.payments == nil {
			return errNoPayments()
		}
		begun, err := findOperation(ctx, b.db.Read(), `customer_id = $1 AND state = $2`, id, pending)
		if err != nil || begun != nil {
			return err
		}
		if err := b.payments.DeleteCustomer(ctx, account.stripeCustomer, "erase/"+id); err != nil {
			return err
		}
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		now, err := b.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		begun, err := findOperation(ctx, tx, `customer_id = $1 AND state = $2`, id, pending)
		if err != nil || begun != nil || now.stripeCustomer != account.stripeCustomer {
			return err
		}
		if err := b.wipe(ctx, tx, &now); err != nil {
			return err
		}
		return done(ctx, tx, id)
	})
}
