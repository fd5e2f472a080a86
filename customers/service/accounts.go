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
	// SetBlocked lets nobody log in to an account and ends its sessions, or lets its owner log in again. An account that
	// does not exist is left so.
	SetBlocked(ctx context.Context, account string, blocked bool) error
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
	// settleTimeout is how long the auth service has to answer: less than callers wait, so that they hear that the change
	// is made.
	settleTimeout = 3 * time.Second
	// settleTries is how often a status is followed that changes all the time.
	settleTries = 10
	// settledAtOnce is how many rows Reconcile reads at a time.
	settledAtOnce = 100
)

// oweAccount notes, in the transaction that changes a customer's status, that the auth service has still to be told. It
// returns the note's id.
func (c *Customers) oweAccount(ctx context.Context, tx database.Querier, customer string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO customers_unsettled (id, customer_id, made) VALUES ($1, $2, $3)`,
		id.String(), customer, c.now().UnixMicro())
	if err != nil {
		return "", fmt.Errorf("note a change of a status: %w", err)
	}
	return id.String(), nil
}

// settleAccount tells the auth service whether a customer may log in, and forgets the note that it is due; an empty one is
// none. Others may change the status meanwhile, and may have told the auth service before: whoever tells it last has to have
// seen the last status, so that it is looked at again afterwards.
func (c *Customers) settleAccount(ctx context.Context, customer, due string) error {
	if due == "" {
		return nil
	}
	if err := c.fitAccount(ctx, customer); err != nil {
		if errors.KindOf(err) == errors.KindUnavailable {
			return errors.Unavailable("the change is made, but the auth service is away, so that sessions and log-ins are as " +
				"they were: make the same call again").WithCause(err)
		}
		return fmt.Errorf("tell the auth service: %w", err)
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if _, err := tx.Exec(ctx, `DELETE FROM customers_unsettled WHERE id = $1`, due); err != nil {
			return fmt.Errorf("forget that a change of a status is due: %w", err)
		}
		return nil
	})
}

func (c *Customers) fitAccount(ctx context.Context, customer string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	told := false
	mayLogIn := false
	for range settleTries {
		now, err := find(ctx, c.db.Read(), "id", customer, "")
		if errors.KindOf(err) == errors.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if told && now.Status.mayLogIn() == mayLogIn {
			return nil
		}
		mayLogIn = now.Status.mayLogIn()
		if err := c.accounts.SetBlocked(ctx, customer, !mayLogIn); err != nil {
			return err
		}
		told = true
	}
	return errors.Unavailable("the customer's status is changing all the time")
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
			switch err := c.settleAccount(ctx, d.customer, d.id); {
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

// unsettled is a note that the auth service has not been told of a change.
type unsettled struct{ id, customer string }

const selectDue = `SELECT id, customer_id FROM customers_unsettled WHERE id > $1 AND made < $2 ORDER BY id LIMIT $3`

func (c *Customers) unsettled(ctx context.Context, after string, before int64) (_ []unsettled, err error) {
	rows, err := c.db.Read().Query(ctx, selectDue, after, before, settledAtOnce)
	if err != nil {
		return nil, fmt.Errorf("read what the auth service has not been told: %w", err)
	}
	defer rows.Close()
	var found []unsettled
	for rows.Next() {
		var u unsettled
		if err := rows.Scan(&u.id, &u.customer); err != nil {
			return nil, fmt.Errorf("read what the auth service has not been told: %w", err)
		}
		found = append(found, u)
	}
	return found, rows.Err()
}
