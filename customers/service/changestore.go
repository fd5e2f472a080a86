package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// emailChange is the last change of the address that a customer has asked for; zero when there is none.
type emailChange struct {
	customer  string
	request   string
	email     string
	oldKey    string
	hash      string // of the token; empty when none is good
	wrong     int64
	confirmed bool
	expires   time.Time
	mailDue   time.Time
	hour      time.Time
	requests  int64
}

// isOpen tells whether a token can be good.
func (e emailChange) isOpen(now time.Time) bool {
	return e.hash != "" && e.wrong < wrongTokens && now.Before(e.expires)
}

// findChange reads the change of a customer, who is locked.
func findChange(ctx context.Context, tx database.Querier, customer string) (emailChange, error) {
	e := emailChange{customer: customer}
	var confirmed, expires, due, hour int64
	err := tx.QueryRow(ctx, `
		SELECT request, email, old_key, hash, wrong, confirmed, expires, mail_due, hour, requests
		FROM customers_email_changes WHERE customer_id = $1`, customer,
	).Scan(&e.request, &e.email, &e.oldKey, &e.hash, &e.wrong, &confirmed, &expires, &due, &hour, &e.requests)
	if stderrors.Is(err, sql.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return emailChange{}, fmt.Errorf("read a change of an address: %w", err)
	}
	e.confirmed, e.expires = confirmed != 0, time.UnixMicro(expires)
	e.mailDue, e.hour = time.UnixMicro(due), time.UnixMicro(hour)
	return e, nil
}

// replaceChange keeps a change, without a token, in the place of the one before.
func replaceChange(ctx context.Context, tx database.Querier, e emailChange) error {
	return execChange(ctx, tx, `
		INSERT INTO customers_email_changes
			(customer_id, request, email, old_key, hash, wrong, confirmed, expires, mail_due, hour, requests)
		VALUES ($1, $2, $3, $4, '', 0, 0, $5, $6, $7, $8)
		ON CONFLICT (customer_id) DO UPDATE SET
			request = excluded.request, email = excluded.email, old_key = excluded.old_key, hash = '', wrong = 0, confirmed = 0,
			expires = excluded.expires, mail_due = excluded.mail_due, hour = excluded.hour, requests = excluded.requests`,
		e.customer, e.request, e.email, e.oldKey, e.expires.UnixMicro(), e.mailDue.UnixMicro(), e.hour.UnixMicro(), e.requests)
}

// withdrawChange makes no token good. What was asked for stays counted.
func withdrawChange(ctx context.Context, tx database.Querier, customer string) error {
	return execChange(ctx, tx, `UPDATE customers_email_changes SET hash = '', mail_due = 0 WHERE customer_id = $1`, customer)
}

// giveToken makes a token good in the place of the one before, and says when the mails are to be sent again.
func giveToken(ctx context.Context, tx database.Querier, customer, hash string, due time.Time) error {
	return execChange(ctx, tx, `UPDATE customers_email_changes SET hash = $2, mail_due = $3 WHERE customer_id = $1`,
		customer, hash, due.UnixMicro())
}

// doneMails says that the mails of a request need not be sent any more.
func doneMails(ctx context.Context, tx database.Querier, customer, request string) error {
	return execChange(ctx, tx, `UPDATE customers_email_changes SET mail_due = 0 WHERE customer_id = $1 AND request = $2`, customer, request)
}

func countWrongToken(ctx context.Context, tx database.Querier, customer string) error {
	return execChange(ctx, tx, `UPDATE customers_email_changes SET wrong = wrong + 1 WHERE customer_id = $1`, customer)
}

func confirmChange(ctx context.Context, tx database.Querier, customer string) error {
	return execChange(ctx, tx, `UPDATE customers_email_changes SET confirmed = 1, mail_due = 0 WHERE customer_id = $1`, customer)
}

func execChange(ctx context.Context, tx database.Querier, statement string, args ...any) error {
	if _, err := tx.Exec(ctx, statement, args...); err != nil {
		return fmt.Errorf("keep a change of an address: %w", err)
	}
	return nil
}

const (
	selectDueMails = `SELECT customer_id, request FROM customers_email_changes WHERE mail_due > 0 AND mail_due <= $1 ORDER BY mail_due LIMIT $2`
	sweptChanges   = `SELECT customer_id FROM customers_email_changes WHERE expires <= $1 LIMIT $2`
)

// dueMails are the requests whose mails were not sent in time, the customer and the request of each.
func dueMails(ctx context.Context, q database.Reader, now time.Time, most int) (_ [][2]string, err error) {
	rows, err := q.Query(ctx, selectDueMails, now.UnixMicro(), most)
	if err != nil {
		return nil, fmt.Errorf("read which mails are due: %w", err)
	}
	defer rows.Close()
	var found [][2]string
	for rows.Next() {
		var due [2]string
		if err := rows.Scan(&due[0], &due[1]); err != nil {
			return nil, fmt.Errorf("read which mails are due: %w", err)
		}
		found = append(found, due)
	}
	return found, rows.Err()
}
