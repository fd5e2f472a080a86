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
func insertKey(ctx context.Context, tx database.Querier, k freshKey) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO customers_keys (id, customer_id, hash, prefix, scopes, description, created, expires, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`,
		k.ID, k.CustomerID, k.hash, k.Prefix, strings.Join(k.Scopes, scopeSeparator), k.Description,
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

// keyColumns are those of a key that its owner is shown, in the order in which scanKey reads them.
const keyColumns = `id, customer_id, prefix, scopes, description, created, expires, last_seen, successor, blocked`

// scanKey reads keyColumns, and what the query has behind them.
func scanKey(row interface{ Scan(dest ...any) error }, more ...any) (Key, error) {
	var k Key
	var scopes string
	var created, expires, seen int64
	into := []any{&k.ID, &k.CustomerID, &k.Prefix, &scopes, &k.Description, &created, &expires, &seen, &k.RotatedTo, &k.Blocked}
	if err := row.Scan(append(into, more...)...); err != nil {
		return Key{}, err
	}
	k.Scopes, k.Created = strings.Split(scopes, scopeSeparator), time.UnixMicro(created).UTC()
	k.Expires, k.LastSeen = timeOrNever(expires), timeOrNever(seen)
	return k, nil
}

const selectKeys = `
	SELECT ` + keyColumns + ` FROM customers_keys
	WHERE customer_id = $1 AND revoked = 0 AND NOT (successor <> '' AND expires <= $2) ORDER BY id DESC`

// listKeys returns the keys of a customer that were not revoked and have not ended after a rotation, the newest first.
func listKeys(ctx context.Context, q database.Reader, customer string, now time.Time) ([]Key, error) {
	var keys []Key
	err := database.EachRow(ctx, q, func(row *sql.Rows) error {
		k, err := scanKey(row)
		keys = append(keys, k)
		return err
	}, selectKeys, customer, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// foundKey is what a key that was not revoked is good for, and the status of its customer.
type foundKey struct {
	Key
	status Status
}

// selectFound is the query for so many hashes.
func selectFound(hashes int) string {
	return `
		SELECT k.hash, k.id, k.customer_id, k.scopes, k.expires, k.blocked, c.status
		FROM customers_keys k JOIN customers_customers c ON c.id = k.customer_id
		WHERE k.revoked = 0 AND k.hash IN ` + database.Values(1, hashes)
}

// findKeys returns the keys of hashes.
func findKeys(ctx context.Context, q database.Reader, hashes []string) (map[string]foundKey, error) {
	found := make(map[string]foundKey, len(hashes))
	err := database.EachRow(ctx, q, func(row *sql.Rows) error {
		var k foundKey
		var hash, scopes string
		var expires int64
		if err := row.Scan(&hash, &k.ID, &k.CustomerID, &scopes, &expires, &k.Blocked, &k.status); err != nil {
			return err
		}
		k.Scopes, k.Expires = strings.Split(scopes, scopeSeparator), timeOrNever(expires)
		found[hash] = k
		return nil
	}, selectFound(len(hashes)), anys(hashes)...)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return found, nil
}

// ownKey is a key as those see it who change it.
type ownKey struct {
	Key
	revoked bool
}

// findOwnKey returns a key of a customer, also one that was revoked. The customer is locked, and with them their keys. The field is
// that of the request which names the key.
func findOwnKey(ctx context.Context, tx database.Querier, field, customer, id string) (ownKey, error) {
	row := tx.QueryRow(ctx, `
		SELECT `+keyColumns+`, revoked <> 0 FROM customers_keys WHERE id = $1 AND customer_id = $2`, id, customer)
	var o ownKey
	var err error
	o.Key, err = scanKey(row, &o.revoked)
	if stderrors.Is(err, sql.ErrNoRows) {
		return ownKey{}, errors.NotFound(field, "the customer has no such key")
	}
	if err != nil {
		return ownKey{}, fmt.Errorf("read a key: %w", err)
	}
	return o, nil
}

// revokeKey revokes a key.
func revokeKey(ctx context.Context, tx database.Querier, id string, now time.Time) error {
	if _, err := tx.Exec(ctx, `UPDATE customers_keys SET revoked = $2 WHERE id = $1`, id, now.UnixMicro()); err != nil {
		return fmt.Errorf("revoke a key: %w", err)
	}
	return nil
}

// setKeyBlocked sets what callers with a key are told; empty when it is not blocked.
func setKeyBlocked(ctx context.Context, tx database.Querier, id, message string) error {
	if _, err := tx.Exec(ctx, `UPDATE customers_keys SET blocked = $2 WHERE id = $1`, id, message); err != nil {
		return fmt.Errorf("block a key: %w", err)
	}
	return nil
}

// replaceKey gives the place of a key to another: it ends at a time, which may be now.
func replaceKey(ctx context.Context, tx database.Querier, id, successor string, until time.Time, now bool) error {
	column := `expires`
	if now {
		column = `revoked`
	}
	_, err := tx.Exec(ctx, `
		UPDATE customers_keys SET successor = $2, `+column+` = $3 WHERE id = $1`, id, successor, until.UnixMicro())
	if err != nil {
		return fmt.Errorf("replace a key: %w", err)
	}
	return nil
}

// endKeys revokes those keys of a customer whose grace is over.
func endKeys(ctx context.Context, tx database.Querier, customer string, now time.Time) error {
	if _, err := tx.Exec(ctx, endedKeys, customer, now.UnixMicro()); err != nil {
		return fmt.Errorf("end keys: %w", err)
	}
	return nil
}

const endedKeys = `
	UPDATE customers_keys SET revoked = expires
	WHERE customer_id = $1 AND revoked = 0 AND successor <> '' AND expires <= $2`

const rotatedKeys = `
	SELECT id FROM customers_keys WHERE successor <> '' AND revoked = 0 AND expires <= $1 ORDER BY expires LIMIT $2`

// endRotated revokes some of those keys of everybody whose grace is over, and says how many.
func endRotated(ctx context.Context, tx database.Querier, now time.Time, most int) (int64, error) {
	result, err := tx.Exec(ctx, `UPDATE customers_keys SET revoked = expires WHERE id IN (`+rotatedKeys+`)`, now.UnixMicro(), most)
	if err != nil {
		return 0, fmt.Errorf("end keys: %w", err)
	}
	return result.RowsAffected()
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
