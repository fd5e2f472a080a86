package service

import (
	"context"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// Accounts is what the core needs of the auth service, which has an account for each customer who has chosen a password: its
// id is the customer's. Errors are of the kind Unauthenticated when the credentials are refused, TooMany after too many
// attempts, in the auth service's words, and Unavailable when it cannot be asked.
type Accounts interface {
	// LogIn begins a session with a password. For an account that does not exist it takes as long, and counts as an attempt.
	LogIn(ctx context.Context, account, password string) (Session, error)
	// Refresh goes on with the session of a refresh token, which is used up by it.
	Refresh(ctx context.Context, refreshToken string) (Session, error)
	// End ends a session of an account, EndAll all of them. An account that does not exist has none.
	End(ctx context.Context, account, session string) error
	EndAll(ctx context.Context, account string) error
	// Sessions returns the sessions of an account that have not ended, those used last first, at most 100.
	Sessions(ctx context.Context, account string) ([]LogIn, error)
	// SetBlocked lets nobody log in to an account and ends its sessions, or lets its owner log in again. It tells whether
	// there is such an account; none is made, and one that is made later is not blocked.
	SetBlocked(ctx context.Context, account string, blocked bool) (exists bool, err error)
	// Delete deletes an account, with its password and its sessions. One that does not exist is no error.
	Delete(ctx context.Context, account string) error
}

// Session is a log-in of an account.
type Session struct {
	Account string
	ID      string
	Token   Token
}

// Token is what a customer who has logged in calls with.
type Token struct {
	Access  string
	Refresh string
	Expiry  time.Time // of the access token
}

const (
	// settleAfter is how long whoever has changed a status has to tell the auth service, before Reconcile does.
	settleAfter = 10 * time.Second
	// appearsWithin is how long an account that was to be blocked, and is not there, may still appear: somebody may be about to
	// complete the signup who was seen before the change. It is longer than they work at that, and than settleAfter.
	appearsWithin = 30 * time.Second
	// settleTimeout is how long the auth service has to answer: less than callers wait, so that they hear that the change
	// is made.
	settleTimeout = 3 * time.Second
	// settleTries is how often a status is followed that changes all the time.
	settleTries = 10
	// settledAtOnce is how many rows Reconcile reads at a time.
	settledAtOnce = 100
)

// unsettled is a note that the auth service has not been told of a change of a customer's status. Without an id it is none.
type unsettled struct {
	id       string
	customer string
	made     int64 // microseconds since 1970
}

// oweAccount notes, in the transaction that changes a customer's status, that the auth service has still to be told.
func (c *Customers) oweAccount(ctx context.Context, tx database.Querier, customer string) (unsettled, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return unsettled{}, fmt.Errorf("make an id: %w", err)
	}
	due := unsettled{id: id.String(), customer: customer, made: c.now().UnixMicro()}
	_, err = tx.Exec(ctx, `INSERT INTO customers_unsettled (id, customer_id, made) VALUES ($1, $2, $3)`,
		due.id, due.customer, due.made)
	if err != nil {
		return unsettled{}, fmt.Errorf("note a change of a status: %w", err)
	}
	return due, nil
}

// settleAccount tells the auth service whether a customer may log in, and forgets the note that it is due, unless
// there was no account to block and one may still appear: then Reconcile tells it again. Others may change the status meanwhile, and may have told the auth service before: whoever tells it last has to have
// seen the last status, so that it is looked at again afterwards.
func (c *Customers) settleAccount(ctx context.Context, due unsettled) error {
	if due.id == "" {
		return nil
	}
	missing, err := c.fitAccount(ctx, due.customer)
	if err != nil {
		if errors.KindOf(err) == errors.KindUnavailable {
			return errors.Unavailable("the change is made, but the auth service is away, so that sessions and log-ins are as " +
				"they were: make the same call again").WithCause(err)
		}
		return fmt.Errorf("tell the auth service: %w", err)
	}
	if missing && c.now().UnixMicro() < due.made+appearsWithin.Microseconds() {
		return nil
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if _, err := tx.Exec(ctx, `DELETE FROM customers_unsettled WHERE id = $1`, due.id); err != nil {
			return fmt.Errorf("forget that a change of a status is due: %w", err)
		}
		return nil
	})
}

// fitAccount tells the auth service whether a customer may log in, and whether there was no account of one who may not.
func (c *Customers) fitAccount(ctx context.Context, customer string) (missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	told := false
	mayLogIn := false
	for range settleTries {
		now, err := find(ctx, c.db.Read(), "id", customer, "")
		if errors.KindOf(err) == errors.KindNotFound {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if told && now.Status.mayLogIn() == mayLogIn {
			return missing, nil
		}
		mayLogIn = now.Status.mayLogIn()
		exists, err := c.accounts.SetBlocked(ctx, customer, !mayLogIn)
		if err != nil {
			return false, err
		}
		missing = !exists && !mayLogIn
		told = true
	}
	return false, errors.Unavailable("the customer's status is changing all the time")
}

// Reconcile tells the auth service what it has not been told, because it was away or the process has died. It is to run every
// few seconds, and may run twice at once.
func (c *Customers) Reconcile(ctx context.Context) error {
	before := c.now().Add(-settleAfter).UnixMicro()
	var failed []error
	for last := ""; ; {
		due, err := c.unsettled(ctx, last, before)
		if err != nil {
			return err
		}
		for _, d := range due {
			switch err := c.settleAccount(ctx, d); {
			case errors.KindOf(err) == errors.KindUnavailable:
				return stderrors.Join(append(failed, err)...) // the others would hear the same
			case err != nil:
				failed = append(failed, fmt.Errorf("customer %s: %w", d.customer, err))
			}
			last = d.id
		}
		if len(due) < settledAtOnce {
			return stderrors.Join(failed...)
		}
	}
}

const selectDue = `SELECT id, customer_id, made FROM customers_unsettled WHERE id > $1 AND made < $2 ORDER BY id LIMIT $3`

func (c *Customers) unsettled(ctx context.Context, after string, before int64) (_ []unsettled, err error) {
	rows, err := c.db.Read().Query(ctx, selectDue, after, before, settledAtOnce)
	if err != nil {
		return nil, fmt.Errorf("read what the auth service has not been told: %w", err)
	}
	defer rows.Close()
	var found []unsettled
	for rows.Next() {
		var u unsettled
		if err := rows.Scan(&u.id, &u.customer, &u.made); err != nil {
			return nil, fmt.Errorf("read what the auth service has not been told: %w", err)
		}
		found = append(found, u)
	}
	return found, rows.Err()
}
