package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// insertAccount makes an account on the tier free unless there is one.
func insertAccount(ctx context.Context, tx database.Querier, id string, now time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO billing_accounts (customer_id, tier, status, stripe_customer, subscription, card, period_end,
			cancel_at_period_end, closed, version, created, updated)
		VALUES ($1, $2, $3, '', '', '', 0, 0, 0, 1, $4, $4)
		ON CONFLICT (customer_id) DO NOTHING`,
		id, Free, None, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert an account: %w", err)
	}
	return nil
}

const accountColumns = `customer_id, tier, status, stripe_customer, subscription, card, period_end, cancel_at_period_end, closed, version,
	erased`

// findAccount returns an account, or that of somebody of whom nothing is known. The lock is FOR UPDATE when it is read to be
// changed.
func findAccount(ctx context.Context, q database.Reader, id, lock string) (Account, error) {
	var a Account
	var periodEnd int64
	err := q.QueryRow(ctx, `SELECT `+accountColumns+` FROM billing_accounts WHERE customer_id = $1 `+lock, id).
		Scan(&a.CustomerID, &a.Tier, &a.Status, &a.stripeCustomer, &a.subscription, &a.card, &periodEnd, &a.CancelAtPeriodEnd,
			&a.Closed, &a.version, &a.erased)
	if stderrors.Is(err, sql.ErrNoRows) {
		return Account{CustomerID: id, Tier: Free, Status: None}, nil
	}
	if err != nil {
		return Account{}, fmt.Errorf("read an account: %w", err)
	}
	if periodEnd != 0 {
		a.PeriodEnd = time.UnixMicro(periodEnd).UTC()
	}
	return a, nil
}

// updateAccount replaces an account, which has to have been locked in the same transaction.
func updateAccount(ctx context.Context, tx database.Querier, a *Account, now time.Time) error {
	var periodEnd int64
	if !a.PeriodEnd.IsZero() {
		periodEnd = a.PeriodEnd.UnixMicro()
	}
	_, err := tx.Exec(ctx, `
		UPDATE billing_accounts
		SET tier = $2, status = $3, stripe_customer = $4, subscription = $5, card = $6, period_end = $7,
			cancel_at_period_end = $8, closed = $9, version = $10, updated = $11, erased = $12
		WHERE customer_id = $1`,
		a.CustomerID, a.Tier, a.Status, a.stripeCustomer, a.subscription, a.card, periodEnd, number(a.CancelAtPeriodEnd),
		number(a.Closed), a.version, now.UnixMicro(), number(a.erased))
	if err != nil {
		return fmt.Errorf("update an account: %w", err)
	}
	return nil
}

// accountsOf returns the ids of the accounts that a query selects. The query is the part after FROM.
func accountsOf(ctx context.Context, q database.Reader, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT customer_id FROM `+query, args...)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return ids, nil
}

// affected says whether a statement has changed a row.
func affected(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
