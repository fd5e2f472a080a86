package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// changeFor is how long a change of an address can be confirmed after it was asked for.
	changeFor = time.Hour
	// changesPerHour is how often a customer may ask, wrongTokens how many wrong tokens may be tried for one request.
	changesPerHour = 5
	wrongTokens    = 5
	maxChangeToken = 100 // bytes, generous: mail programs and people add spaces
)

// errChangeToken does not say what is wrong with a token.
var errChangeToken = errors.Invalid("token", "is not good, or not any more: ask for the change once more")

// RequestEmailChange asks for another address of an active customer. Both get a mail: the new one a token, with which
// ConfirmEmailChange takes it; the old one is told. Whoever asks does not learn whether the new one is another customer's: the
// mail says so, to whom it belongs. The present address withdraws the request before, as any other one replaces it.
//
// Once the request is kept, the mails are sent, if not now then by SendMails. An address that the mail server refuses for good is
// an error of the kind Invalid.
func (c *Customers) RequestEmailChange(ctx context.Context, customerID, email string) error {
	id, err := parseID("id", customerID)
	if err != nil {
		return err
	}
	to, err := parseAddress("email", email)
	if err != nil {
		return err
	}
	request, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	withdrawn := false
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := c.findChanging(ctx, tx, id)
		if err != nil {
			return err
		}
		change, err := findChange(ctx, tx, id)
		if err != nil {
			return err
		}
		if withdrawn = to.text == customer.Email; withdrawn {
			return withdrawChange(ctx, tx, id)
		}
		now := c.now()
		if change.hour, change.requests, err = countRequest(change, now); err != nil {
			return err
		}
		change.customer, change.request = id, request.String()
		change.email, change.oldKey = to.text, strings.ToLower(customer.Email)
		change.expires, change.mailDue = now.Add(changeFor), now.Add(mailAfter)
		return replaceChange(ctx, tx, change)
	})
	if err != nil || withdrawn {
		return err
	}
	if err := c.sendChange(ctx, id, request.String()); errors.KindOf(err) == errors.KindInvalid {
		return err
	}
	return nil // whatever else has gone wrong, SendMails tries again
}

// countRequest counts a request, unless there were as many in the hour as there may be (429).
func countRequest(before emailChange, now time.Time) (hour time.Time, requests int64, err error) {
	end := before.hour.Add(time.Hour)
	switch {
	case before.requests == 0 || !now.Before(end):
		return now, 1, nil
	case before.requests >= changesPerHour:
		return time.Time{}, 0, errors.TooMany("too many changes of the address were asked for: try again in %d seconds",
			int(math.Ceil(end.Sub(now).Seconds())))
	}
	return before.hour, before.requests + 1, nil
}

// ConfirmEmailChange gives a customer the address that a token was sent to. The token is good once, for an hour, until five wrong
// ones were tried or another address was asked for. The same call once more changes nothing. It is a conflict when somebody else
// has taken the address meanwhile; the token stays good.
func (c *Customers) ConfirmEmailChange(ctx context.Context, customerID, token string) (Customer, error) {
	id, err := parseID("id", customerID)
	if err != nil {
		return Customer{}, err
	}
	if token == "" {
		return Customer{}, errors.Invalid("token", "required")
	}
	if len(token) > maxChangeToken {
		return Customer{}, errChangeToken
	}
	var result Customer
	refused := false
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		result, refused = Customer{}, true
		customer, err := c.findChanging(ctx, tx, id)
		if err != nil {
			return err
		}
		change, err := findChange(ctx, tx, id)
		if err != nil || !change.isOpen(c.now()) {
			return err
		}
		if subtle.ConstantTimeCompare([]byte(hashChange(id, token)), []byte(change.hash)) != 1 {
			return countWrongToken(ctx, tx, id) // counts, though the call is refused
		}
		if change.confirmed {
			result, refused = customer, customer.Email != change.email
			return nil
		}
		if strings.ToLower(customer.Email) != change.oldKey {
			return nil // an admin has given the customer another address since
		}
		customer.Email, customer.Updated = change.email, c.now()
		customer.Version++
		if err := update(ctx, tx, customer); err != nil {
			return err
		}
		if err := confirmChange(ctx, tx, id); err != nil {
			return err
		}
		result, refused = customer, false
		return c.publish(ctx, tx, customer, updated([]string{"email"}))
	})
	if err != nil {
		return Customer{}, err
	}
	if refused {
		return Customer{}, errChangeToken
	}
	return result, nil
}

// findChanging finds the customer whose address is to change, who is active.
func (c *Customers) findChanging(ctx context.Context, tx database.Querier, id string) (Customer, error) {
	customer, err := find(ctx, tx, "id", id, "FOR UPDATE")
	if err == nil && customer.Status != Active {
		return Customer{}, errors.Conflict("status", "is %s, and an address is changed of customers who are %s", customer.Status, Active)
	}
	return customer, err
}

// hashChange is what is kept of a token. It is another one for another customer.
func hashChange(customer, token string) string {
	sum := sha256.Sum256([]byte("email\x00" + customer + "\x00" + strings.ToUpper(strings.TrimSpace(token))))
	return hex.EncodeToString(sum[:])
}
