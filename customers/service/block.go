package service

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// maxMessage is how many characters the message of a block has at most.
const maxMessage = 200

// Block has callers with a key refused with a message, until Unblock. To block a blocked key changes the message.
func (k *Keys) Block(ctx context.Context, customerID, keyID, message string) error {
	message, err := checkLine("message", message, maxMessage)
	if err != nil {
		return err
	}
	return k.setBlocked(ctx, customerID, keyID, message, blockKey)
}

// Unblock makes a blocked key as good as it was. Of one that is not blocked it changes nothing.
func (k *Keys) Unblock(ctx context.Context, customerID, keyID string) error {
	return k.setBlocked(ctx, customerID, keyID, "", unblockKey)
}

// setBlocked sets the message of a key, which is none when it is not to be blocked.
func (k *Keys) setBlocked(
	ctx context.Context, customerID, keyID, message string, event func(id, message string) *customersevents.Event,
) error {
	customerID, err := parseID("customer_id", customerID)
	if err != nil {
		return err
	}
	id, err := parseKeyID("key_id", keyID)
	if err != nil {
		return err
	}
	return k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := findByID(ctx, tx, "customer_id", customerID, "FOR UPDATE")
		if err != nil {
			return err
		}
		key, err := findOwnKey(ctx, tx, "key_id", customer.ID, id)
		switch {
		case err != nil, key.Blocked == message:
			return err
		case key.revoked && message != "":
			return errors.Conflict("key_id", "the key was revoked, and nobody can call with it")
		}
		if err := setKeyBlocked(ctx, tx, id, message); err != nil {
			return err
		}
		return k.publish(ctx, tx, customer, event(id, message))
	})
}

// checkLine checks a text of one line and returns it without the space around it.
func checkLine(field, s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n == 0 || n > most {
		return "", errors.Invalid(field, "must have 1 to %d characters", most)
	}
	if strings.ContainsFunc(s, breaksLine) {
		return "", errors.Invalid(field, "must be one line without control characters")
	}
	return s, nil
}

// breaksLine tells whether a character does something else than to be shown in its place.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}
