package service

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/m3o/backend/pkg/errors"
)

const maxSession = 64 // bytes, more than the id of any has

// LogIn is a session as its customer sees it.
type LogIn struct {
	ID      string
	Created time.Time // when the customer logged in
	Used    time.Time // when it last gave out an access token
	Expires time.Time // when it ends by itself
}

// Sessions returns the sessions of a customer that have not ended, those used last first.
func (c *Customers) Sessions(ctx context.Context, customerID string) ([]LogIn, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return nil, err
	}
	if _, err := findByID(ctx, c.db.Read(), "customer_id", id, ""); err != nil {
		return nil, err
	}
	return c.accounts.Sessions(ctx, id)
}

// RevokeSession ends one session of a customer, as Logout does. The auth service looks for it among those of the customer's
// account alone, so that nobody ends another's.
func (c *Customers) RevokeSession(ctx context.Context, customerID, sessionID string) error {
	if sessionID == "" {
		return errors.Invalid("id", "required")
	}
	if len(sessionID) > maxSession || strings.ContainsFunc(sessionID, unicode.IsControl) {
		return errors.Invalid("id", "must be the id of a session, as ListSessions has it")
	}
	return c.Logout(ctx, Ending{CustomerID: customerID, Session: sessionID})
}
