package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// scopeSeparator is in no scope.
const scopeSeparator = " "

// insertKey adds a key with the hash of its text.
func insertKey(ctx context.Context, tx database.Querier, k Key, hash string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO customers_keys (id, customer_id, hash, prefix, scopes, description, created, expires, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`,
		k.ID, k.CustomerID, hash, k.Prefix, strings.Join(k.Scopes, scopeSeparator), k.Description,
		k.Created.UnixMicro(), microOrNever(k.Expires))
	if err != nil {
		return fmt.Errorf("insert a key: %w", err)
	}
	return nil
}

const countOfKeys = `SELECT COUNT(*) FROM customers_keys WHERE customer_id = $1 AND revoked = 0`

// countKeys counts the keys of a customer that were not revoked.
func countKeys(ctx context.Context, tx database.Querier, customer string) (int, error) {
	var n int
	err := tx.QueryRow(ctx, countOfKeys, customer).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count keys: %w", err)
	}
	return n, nil
}

const selectKeys = `
	SELECT id, prefix, scopes, description, created, expires FROM customers_keys
	WHERE customer_id = $1 AND revoked = 0 ORDER BY id DESC`

// listKeys returns the keys of a customer that were not revoked, the newest first.
func listKeys(ctx context.Context, q database.Reader, customer string) (_ []Key, err error) {
	rows, err := q.Query(ctx, selectKeys, customer)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	defer rows.Close()
	var keys []Key
	for rows.Next() {
		k := Key{CustomerID: customer}
		var scopes string
		var created, expires int64
		if err := rows.Scan(&k.ID, &k.Prefix, &scopes, &k.Description, &created, &expires); err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		k.Scopes, k.Created, k.Expires = strings.Split(scopes, scopeSeparator), time.UnixMicro(created).UTC(), timeOrNever(expires)
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

const selectKey = `
	SELECT k.id, k.customer_id, k.scopes, k.expires, c.status
	FROM customers_keys k JOIN customers_customers c ON c.id = k.customer_id
	WHERE k.hash = $1 AND k.revoked = 0`

// findKey returns what a key that was not revoked is good for, and the status of its customer.
func findKey(ctx context.Context, q database.Reader, hash string) (Key, Status, error) {
	var k Key
	var scopes string
	var expires int64
	var status Status
	err := q.QueryRow(ctx, selectKey, hash).Scan(&k.ID, &k.CustomerID, &scopes, &expires, &status)
	if stderrors.Is(err, sql.ErrNoRows) {
		return Key{}, "", errors.NotFound("api_key", "there is no such key")
	}
	if err != nil {
		return Key{}, "", fmt.Errorf("read a key: %w", err)
	}
	k.Scopes, k.Expires = strings.Split(scopes, scopeSeparator), timeOrNever(expires)
	return k, status, nil
}

// revokeKey revokes a key of a customer, and says whether it was not revoked before.
func revokeKey(ctx context.Context, tx database.Querier, customer, id string, now time.Time) (bool, error) {
	var revoked int64
	err := tx.QueryRow(ctx, `SELECT revoked FROM customers_keys WHERE id = $1 AND customer_id = $2`, id, customer).Scan(&revoked)
	if stderrors.Is(err, sql.ErrNoRows) {
		return false, errors.NotFound("id", "the customer has no such key")
	}
	if err != nil {
		return false, fmt.Errorf("read a key: %w", err)
	}
	if revoked != 0 {
		return false, nil
	}
	if _, err := tx.Exec(ctx, `UPDATE customers_keys SET revoked = $2 WHERE id = $1`, id, now.UnixMicro()); err != nil {
		return false, fmt.Errorf("revoke a key: %w", err)
	}
	return true, nil
}

const sweptKeys = `SELECT id FROM customers_keys WHERE revoked <> 0 AND revoked < $1 ORDER BY revoked LIMIT $2`

// sweepKeys deletes some of the keys that were revoked before a time, and says how many.
func sweepKeys(ctx context.Context, tx database.Querier, before time.Time, most int) (int64, error) {
	result, err := tx.Exec(ctx, `DELETE FROM customers_keys WHERE id IN (`+sweptKeys+`)`, before.UnixMicro(), most)
	if err != nil {
		return 0, fmt.Errorf("sweep keys: %w", err)
	}
	return result.RowsAffected()
}

// microOrNever is a time as it is kept: 0 for never, which is the zero time.
func microOrNever(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOrNever(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}
