package service

import (
	"context"
	"crypto/rand"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// Mails is what the core needs of signup, which sends the platform's mails. Errors are of the kind Invalid when the new address
// is refused for good, and Unavailable when it cannot be asked or cannot send now.
type Mails interface {
	// SendEmailChange tells the old address of a change, and sends the new one the token.
	SendEmailChange(ctx context.Context, m ChangeMail) error
}

// ChangeMail is what is sent about a change of an address.
type ChangeMail struct {
	Email    string // the new address
	OldEmail string
	Token    string        // for the new address; empty when the address is another customer's, who is told so
	GoodFor  time.Duration // how long the token is good, in whole seconds
}

const (
	// mailAfter is how long whoever has asked for a change has to send its mails, before SendMails does; and how long it waits
	// after an attempt that has failed. It is longer than an attempt takes.
	mailAfter = 30 * time.Second
	// mailTimeout is how long signup has to send the mails.
	mailTimeout = 10 * time.Second
	// mailsAtOnce is how many rows SendMails and SweepChanges read at a time.
	mailsAtOnce = 100
)

// sendChange sends the mails of a request, unless they are not wanted any more. Only the hash of a token is kept, so that each
// attempt makes another token: whoever is killed before or after a mail went out leaves one that is good no longer, and the next
// mail has the one that is.
func (c *Customers) sendChange(ctx context.Context, id, request string) error {
	token, mail, wanted := rand.Text(), ChangeMail{}, false
	err := c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		wanted = false
		customer, err := find(ctx, tx, "id", id, "FOR UPDATE")
		if err != nil && errors.KindOf(err) != errors.KindNotFound {
			return err
		}
		change, err := findChange(ctx, tx, id)
		if err != nil || change.request != request || change.mailDue.UnixMicro() == 0 {
			return err
		}
		now := c.now()
		if customer.Status != Active || !now.Before(change.expires) {
			return withdrawChange(ctx, tx, id)
		}
		to, err := parseAddress("email", change.email)
		if err != nil {
			return err
		}
		mail = ChangeMail{Email: change.email, OldEmail: customer.Email, GoodFor: change.expires.Sub(now).Truncate(time.Second)}
		hash := hashChange(id, token)
		switch other, err := find(ctx, tx, "email_key", to.key, ""); {
		case err != nil && errors.KindOf(err) != errors.KindNotFound:
			return err
		case err == nil && other.ID != id:
			hash = ""
		default:
			mail.Token = token
		}
		wanted = true
		return giveToken(ctx, tx, id, hash, now.Add(mailAfter))
	})
	if err != nil || !wanted {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mailTimeout)
	defer cancel()
	sent := c.mails.SendEmailChange(ctx, mail)
	if sent != nil && errors.KindOf(sent) != errors.KindInvalid {
		return sent
	}
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error { return doneMails(ctx, tx, id, request) })
	return stderrors.Join(sent, err)
}

// SendMails sends the mails that were not sent, because signup was away or the process has died. It is to run every few seconds,
// and may run twice at once.
func (c *Customers) SendMails(ctx context.Context) error {
	due, err := dueMails(ctx, c.db.Read(), c.now(), mailsAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range due {
		switch err := c.sendChange(ctx, d[0], d[1]); {
		case errors.KindOf(err) == errors.KindUnavailable:
			return stderrors.Join(append(failed, err)...) // the others would hear the same
		case err != nil && errors.KindOf(err) != errors.KindInvalid:
			failed = append(failed, fmt.Errorf("customer %s: %w", d[0], err))
		}
	}
	return stderrors.Join(failed...)
}

// SweepChanges forgets the changes that have expired an hour ago. It is to run now and then.
func (c *Customers) SweepChanges(ctx context.Context) error {
	before := c.now().Add(-time.Hour).UnixMicro()
	for n := int64(mailsAtOnce); n == mailsAtOnce; {
		err := c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			result, err := tx.Exec(ctx, `DELETE FROM customers_email_changes WHERE customer_id IN (`+sweptChanges+`) AND expires <= $1`,
				before, mailsAtOnce)
			if err != nil {
				return fmt.Errorf("forget changes of addresses: %w", err)
			}
			n, err = result.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
