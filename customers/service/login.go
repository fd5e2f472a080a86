package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

const (
	maxPassword     = 72   // bytes: what the auth service takes
	maxRefreshToken = 1024 // bytes, more than any has
)

// Credentials are either an address and a password, or a refresh token.
type Credentials struct {
	Email        string // in any case
	Password     string
	RefreshToken string
}

var (
	// errCredentials says neither which of the two is wrong nor that the customer may not log in.
	errCredentials = errors.Unauthenticated("there is no active customer with that address and password: check both")
	errRefresh     = errors.Unauthenticated("the refresh token is not good, or not any more: log in with address and password")
)

// check returns what is wrong with credentials by their form.
func (c Credentials) check() error {
	byPassword := c.Email != "" || c.Password != ""
	switch {
	case len(c.Password) > maxPassword:
		return errors.Invalid("password", "must have at most %d bytes", maxPassword)
	case len(c.RefreshToken) > maxRefreshToken:
		return errors.Invalid("refresh_token", "must have at most %d bytes", maxRefreshToken)
	case byPassword == (c.RefreshToken != ""):
		return errors.Invalid("email", "give either email and password, or refresh_token")
	}
	return nil
}

// Login begins a session of a customer, or goes on with one. It is refused in the same words and after the same time whether
// there is no such customer, the password is wrong or the customer is not active: what a customer is, and whether
// there is one, is nobody's business who does not log in.
func (c *Customers) Login(ctx context.Context, given Credentials) (Token, error) {
	if err := given.check(); err != nil {
		return Token{}, err
	}
	if given.RefreshToken != "" {
		session, err := c.accounts.Refresh(ctx, given.RefreshToken)
		if err != nil {
			return Token{}, refused(err, errRefresh)
		}
		return c.admit(ctx, session, tokenRefresh(), errRefresh)
	}
	email, err := parseAddress("email", given.Email)
	if err != nil {
		return Token{}, err
	}
	if given.Password == "" {
		return Token{}, errors.Invalid("password", "required")
	}
	account := nobody(email)
	switch customer, err := find(ctx, c.db.Read(), "email_key", email.key, ""); {
	case err == nil && customer.Status == Active:
		account = customer.ID
	case err != nil && errors.KindOf(err) != errors.KindNotFound:
		return Token{}, err
	}
	session, err := c.accounts.LogIn(ctx, account, given.Password)
	if err != nil {
		return Token{}, refused(err, errCredentials)
	}
	return c.admit(ctx, session, login(), errCredentials)
}

// nobody is the id of an account that nobody has, for an address that nobody can log in with. It is the same for each attempt,
// so that attempts are counted as they are for somebody's.
func nobody(email address) string {
	sum := sha256.Sum256([]byte(email.key))
	return "nobody-" + hex.EncodeToString(sum[:])
}

// refused is an error of the auth service as whoever logs in is told it.
func refused(err error, refusal *errors.Error) error {
	if errors.KindOf(err) == errors.KindUnauthenticated {
		return refusal.WithCause(err)
	}
	return err
}

// admit gives out the tokens of a session if its customer is active, which may have changed since it was looked at, and ends
// it otherwise. Of a session that could not be told about, nobody has the tokens.
func (c *Customers) admit(ctx context.Context, s Session, event *customersevents.Event, refusal *errors.Error) (Token, error) {
	id, err := parseID("id", s.Account)
	if err != nil {
		return Token{}, refusal // an account that is no customer's
	}
	active := false
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := find(ctx, tx, "id", id, "FOR UPDATE")
		if err != nil && errors.KindOf(err) != errors.KindNotFound {
			return err
		}
		if active = err == nil && customer.Status == Active; !active {
			return nil
		}
		// Whoever passes the password on, it is the customer who logs in.
		ctx = auth.WithCaller(ctx, auth.Caller{Kind: auth.Customer, ID: id})
		return c.publish(ctx, tx, customer, event)
	})
	if err != nil {
		return Token{}, err
	}
	if !active {
		if err := c.accounts.End(ctx, s.Account, s.ID); err != nil {
			return Token{}, err
		}
		return Token{}, refusal
	}
	return s.Token, nil
}

// Ending says which sessions end.
type Ending struct {
	CustomerID string
	// Session is the id of the one that ends; when it is empty, none does.
	Session string
	// All ends all.
	All bool
}

// Logout ends sessions of a customer. Of one that has ended already nothing changes, and it is told once more: the call
// may be made again because it could not be told.
func (c *Customers) Logout(ctx context.Context, e Ending) error {
	id, err := parseID("customer_id", e.CustomerID)
	if err != nil {
		return err
	}
	if _, err := findByID(ctx, c.db.Read(), "customer_id", id, ""); err != nil {
		return err
	}
	switch {
	case e.All:
		err = c.accounts.EndAll(ctx, id)
	case e.Session != "":
		err = c.accounts.End(ctx, id, e.Session)
	default:
		return nil // the token is of no log-in
	}
	if err != nil {
		return err
	}
	return c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := findByID(ctx, tx, "customer_id", id, "FOR UPDATE")
		if err != nil {
			return err
		}
		return c.publish(ctx, tx, customer, logout())
	})
}
