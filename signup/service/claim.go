package service

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/database"
)

const (
	// workFor is how long a call works with a token that it has claimed, claimFor how long nobody else does: longer, so that
	// no step of the one can come after the first of the next.
	workFor  = 8 * time.Second
	claimFor = 10 * time.Second
	// tidyFor is how long a call has to say that it has ended.
	tidyFor = 2 * time.Second
)

// claim is a token while one call works with it.
type claim struct {
	address string
	purpose purpose
	id      string
	// customer is the id of whom the token was made for.
	customer string
	// activating tells that a call before this one, with the same token, was about to make the customer active.
	activating bool
	// used tells that there is nothing to release.
	used bool
}

// claim takes a token for this call alone. Whatever is wrong with it is errToken, and counted if it was a wrong one.
func (s *Signup) claim(ctx context.Context, p purpose, a address.Address, token string) (*claim, error) {
	hash := p.hash(a.Key, token)
	var c *claim
	var refused error
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		c, refused = nil, errToken
		var known, customer, claimed string
		var expires, wrong, until, activating int64
		err := tx.QueryRow(ctx, `
			SELECT hash, customer_id, expires, wrong, claim, claimed_until, activating
			FROM signup_tokens WHERE address = $1 AND purpose = $2 FOR UPDATE`, keyOf(a), p).
			Scan(&known, &customer, &expires, &wrong, &claimed, &until, &activating)
		now := s.now()
		switch {
		case stderrors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		case expires <= now.UnixMicro():
			return nil
		case subtle.ConstantTimeCompare([]byte(known), []byte(hash)) != 1:
			return s.countWrong(ctx, tx, keyOf(a), p, wrong+1)
		case claimed != "" && until > now.UnixMicro():
			refused = errClaimed
			return nil
		}
		refused = nil
		c = &claim{address: keyOf(a), purpose: p, id: rand.Text(), customer: customer, activating: activating != 0}
		_, err = tx.Exec(ctx, `UPDATE signup_tokens SET claim = $3, claimed_until = $4 WHERE address = $1 AND purpose = $2`,
			c.address, c.purpose, c.id, now.Add(claimFor).UnixMicro())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim a token: %w", err)
	}
	return c, refused
}

// countWrong counts a wrong attempt; after too many the token is good no longer.
func (s *Signup) countWrong(ctx context.Context, tx database.Querier, key string, p purpose, wrong int64) error {
	keep := 1
	if wrong >= int64(s.settings.Token.Attempts) {
		keep = 0
	}
	_, err := tx.Exec(ctx, `
		UPDATE signup_tokens SET wrong = $3, hash = CASE WHEN $4 = 1 THEN hash ELSE '' END
		WHERE address = $1 AND purpose = $2`, key, p, wrong, keep)
	return err
}

// markActivating remembers that the customer is about to become active by the token. It is refused when the claim was over before,
// and the token another call's, or replaced by a newer one.
func (s *Signup) markActivating(ctx context.Context, c *claim) error {
	held := false
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		result, err := tx.Exec(ctx, `
			UPDATE signup_tokens SET activating = 1 WHERE address = $1 AND purpose = $2 AND claim = $3`, c.address, c.purpose, c.id)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		held = n > 0
		return err
	})
	if err != nil {
		return fmt.Errorf("remember how far a signup is: %w", err)
	}
	if !held {
		return errToken
	}
	return nil
}

// use ends a token for good, together with what else is done in the transaction, if anything is. A newer one that has
// replaced it meanwhile stays.
func (s *Signup) use(ctx context.Context, c *claim, also func(ctx context.Context, tx database.Querier) error) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM signup_tokens WHERE address = $1 AND purpose = $2 AND claim = $3`, c.address, c.purpose, c.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("use up a token: %w", err)
	}
	c.used = true
	return nil
}

// release lets the same call be made again at once, if this one has failed. Else it would have to wait for the end of the
// claim, which does no harm.
func (s *Signup) release(ctx context.Context, c *claim) {
	if c.used {
		return
	}
	// Also of a call whose caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	err := s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `
			UPDATE signup_tokens SET claim = '', claimed_until = 0 WHERE address = $1 AND purpose = $2 AND claim = $3`,
			c.address, c.purpose, c.id)
		return err
	})
	if err != nil {
		logger.Warnf("A token stays claimed for %s: %v", claimFor, err)
	}
}
