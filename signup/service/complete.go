package service

import (
	"context"
	stderrors "errors"
	"fmt"

	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Session is what somebody goes on with who has signed up.
type Session struct {
	// AuthToken is an access token.
	AuthToken string
	// CustomerID is the id of the customer, and of the account.
	CustomerID string
	// Namespace is that of the account.
	Namespace string
}

// CompleteSignup makes the owner of an address an active customer who has a password, and logs in. The token is used up by
// it, as the last step: until then the same call may be made again, whatever has become of the one before.
func (s *Signup) CompleteSignup(ctx context.Context, email, token, secret string) (Session, error) {
	a, token, err := check(email, token)
	if err != nil {
		return Session{}, err
	}
	if err := checkSecret("secret", secret); err != nil {
		return Session{}, err
	}
	c, err := s.claim(ctx, forVerification, a, token)
	if err != nil {
		return Session{}, err
	}
	defer s.release(ctx, c)
	ctx, cancel := context.WithTimeout(ctx, workFor)
	defer cancel()
	found, err := s.remote.markVerified(ctx, a.Text)
	switch {
	case err != nil:
		return Session{}, err
	case found.id != c.customer:
		return Session{}, errToken // the address is another customer's by now
	case found.status != statusActive:
		err = s.becomeActive(ctx, c, secret)
	case !c.activating:
		// Somebody who has a password gets another one by Recover, and by nothing else.
		return Session{}, s.spent(ctx, c)
	default:
		// The call before may have ended before the auth service was told to let them in.
		err = s.remote.activate(ctx, c.customer)
	}
	if err != nil {
		return Session{}, err
	}
	access, err := s.remote.logIn(ctx, found.email, secret)
	if stderrors.Is(err, errCredentials) {
		// The call that made the customer active, and was not answered, had another password.
		return Session{}, s.spent(ctx, c)
	}
	if err != nil {
		return Session{}, err
	}
	if err := s.use(ctx, c, nil); err != nil {
		return Session{}, err
	}
	return Session{AuthToken: access, CustomerID: c.customer, Namespace: namespace.DefaultNamespace}, nil
}

// becomeActive gives a customer whose address is proven an account with a password, and makes them active.
func (s *Signup) becomeActive(ctx context.Context, c *claim, secret string) error {
	made, err := s.remote.makeAccount(ctx, c.customer, secret)
	if err == nil && !made { // by a call that died here, perhaps with another password
		_, err = s.remote.changeSecret(ctx, c.customer, secret)
	}
	if err != nil {
		return err
	}
	// From here on a call that is made again finds an active customer, whose password was chosen with this token.
	if err := s.markActivating(ctx, c); err != nil {
		return err
	}
	return s.remote.activate(ctx, c.customer)
}

// spent ends a token that there is nothing left to do with.
func (s *Signup) spent(ctx context.Context, c *claim) error {
	if err := s.use(ctx, c, nil); err != nil {
		return err
	}
	return errToken
}

// ResetPassword gives the account of an active customer another password, which ends its sessions, and publishes that it has.
// The same call may be made again until it has succeeded.
func (s *Signup) ResetPassword(ctx context.Context, email, token, password string) error {
	a, token, err := check(email, token)
	if err != nil {
		return err
	}
	if err := checkSecret("password", password); err != nil {
		return err
	}
	c, err := s.claim(ctx, forReset, a, token)
	if err != nil {
		return err
	}
	defer s.release(ctx, c)
	ctx, cancel := context.WithTimeout(ctx, workFor)
	defer cancel()
	found, err := s.remote.read(ctx, a.Text)
	if err != nil {
		return err
	}
	if found.id != c.customer || found.status != statusActive {
		return errToken
	}
	changed, err := s.remote.changeSecret(ctx, c.customer, password)
	if err == nil && !changed { // an operator has made the customer active, who has never had a password
		changed, err = s.remote.makeAccount(ctx, c.customer, password)
	}
	if err != nil {
		return err
	}
	if !changed {
		return fmt.Errorf("the account of customer %s is there and is not", c.customer)
	}
	return s.use(ctx, c, func(ctx context.Context, tx database.Querier) error {
		return s.outbox.Add(ctx, tx, events.Draft{
			Topic: customersevents.Topic,
			// The service customers numbers its own events about the customer.
			Aggregate: "signup/" + c.customer,
			Message: &customersevents.Event{
				Type:          customersevents.EventType_EventTypePasswordReset,
				Customer:      &customersevents.Customer{Id: c.customer},
				CallerId:      auth.CallerFrom(ctx).ID,
				PasswordReset: &customersevents.PasswordReset{},
			},
		})
	})
}

// check checks what came back from a mail.
func check(email, token string) (address.Address, string, error) {
	a, err := address.Parse("email", email)
	if err != nil {
		return a, "", err
	}
	token, err = parseToken(token)
	return a, token, err
}
