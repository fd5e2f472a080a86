package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// mailWindow is how long a mail counts.
const mailWindow = time.Hour

// newest is the newest token of an address, as it is kept; without a hash when none is good.
type newest struct {
	address  string
	purpose  purpose
	hash     string
	customer string
	expires  time.Time
}

// replaceToken keeps a token in the place of the one before, which is good no longer; unless a call is working with that one:
// with a newer one, another call could come between its steps. It tells whether it has.
func replaceToken(ctx context.Context, tx database.Querier, t newest, now time.Time) (bool, error) {
	result, err := tx.Exec(ctx, `
		INSERT INTO signup_tokens (address, purpose, hash, customer_id, expires, wrong, claim, claimed_until, activating)
		VALUES ($1, $2, $3, $4, $5, 0, '', 0, 0)
		ON CONFLICT (address, purpose) DO UPDATE SET
			hash = excluded.hash, customer_id = excluded.customer_id, expires = excluded.expires,
			wrong = 0, claim = '', claimed_until = 0, activating = 0
		WHERE signup_tokens.claimed_until <= $6`,
		t.address, t.purpose, t.hash, t.customer, t.expires.UnixMicro(), now.UnixMicro())
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// mailTime is when a mail was sent, as it is kept.
func mailTime(at time.Time) string { return strconv.FormatInt(at.UnixMicro(), 10) }

// countMail counts a mail to an address, unless there were as many within the last hour as there may be. It tells whether
// the mail may be sent.
func countMail(ctx context.Context, tx database.Querier, key string, now time.Time, most int) (bool, error) {
	expires := now.Add(mailWindow).UnixMicro()
	result, err := tx.Exec(ctx, `
		INSERT INTO signup_mails (address, sent, expires) VALUES ($1, $2, $3) ON CONFLICT (address) DO NOTHING`,
		key, mailTime(now), expires)
	if err != nil {
		return false, err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return n > 0, err
	}
	sent, err := mailsTo(ctx, tx, key)
	if err != nil {
		return false, err
	}
	sent = slices.DeleteFunc(sent, func(at string) bool {
		us, err := strconv.ParseInt(at, 10, 64)
		return err != nil || us <= now.Add(-mailWindow).UnixMicro()
	})
	if len(sent) >= most {
		return false, nil
	}
	_, err = tx.Exec(ctx, `UPDATE signup_mails SET sent = $2, expires = $3 WHERE address = $1`,
		key, strings.Join(append(sent, mailTime(now)), " "), expires)
	return err == nil, err
}

// uncountMail takes back that a mail was counted.
func uncountMail(ctx context.Context, tx database.Querier, key, at string) error {
	sent, err := mailsTo(ctx, tx, key)
	if err != nil {
		return err
	}
	i := slices.Index(sent, at)
	if i < 0 {
		return nil
	}
	_, err = tx.Exec(ctx, `UPDATE signup_mails SET sent = $2 WHERE address = $1`, key, strings.Join(slices.Delete(sent, i, i+1), " "))
	return err
}

// mailsTo are when mails were sent to an address, which is locked for the rest of the transaction.
func mailsTo(ctx context.Context, tx database.Querier, key string) ([]string, error) {
	var sent string
	err := tx.QueryRow(ctx, `SELECT sent FROM signup_mails WHERE address = $1 FOR UPDATE`, key).Scan(&sent)
	if err != nil && !stderrors.Is(err, sql.ErrNoRows) { // swept meanwhile
		return nil, err
	}
	return strings.Fields(sent), nil
}

// sweepAtOnce is how many rows are deleted in one transaction.
const sweepAtOnce = 1000

// Sweep forgets the tokens that have expired, and where mails were sent to more than an hour ago.
func (s *Signup) Sweep(ctx context.Context) error {
	for _, statement := range []string{
		`DELETE FROM signup_tokens WHERE (address, purpose) IN (
			SELECT address, purpose FROM signup_tokens WHERE expires <= $1 LIMIT $2) AND expires <= $1`,
		`DELETE FROM signup_mails WHERE address IN (SELECT address FROM signup_mails WHERE expires <= $1 LIMIT $2) AND expires <= $1`,
	} {
		for n := int64(sweepAtOnce); n == sweepAtOnce; {
			err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
				result, err := tx.Exec(ctx, statement, s.now().UnixMicro(), sweepAtOnce)
				if err != nil {
					return err
				}
				n, err = result.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
