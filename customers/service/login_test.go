package service_test

import (
	"context"
	stderrors "errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

const password = "correct horse"

var issued = service.Token{Access: "access", Refresh: "refresh", Expiry: time.Unix(1_800_000_000, 0)}

// passwords is an auth service in which one account has the password.
func passwords(account string) func(context.Context, string, string) (service.Session, error) {
	return func(_ context.Context, id, given string) (service.Session, error) {
		if id != account || given != password {
			return service.Session{}, errors.Unauthenticated("the credentials are refused")
		}
		return service.Session{Account: id, ID: "session", Token: issued}, nil
	}
}

// accountCalls is how often the auth service was asked about log-ins.
func (r *room) accountCalls() int {
	return r.accounts.LogInCallCount() + r.accounts.RefreshCallCount() + r.accounts.EndCallCount() + r.accounts.EndAllCallCount()
}

func TestLogin(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		r.accounts.LogInCalls(passwords(jane.ID))
		var got service.Token
		var err error
		events := r.told(t, func() {
			got, err = r.customers.Login(as(t.Context(), "signup-latest"), service.Credentials{Email: "Jane@Example.com", Password: password})
		})
		require.NoError(t, err)
		assert.Equal(t, issued, got)
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeLogin, Customer: inEvent(jane), CallerId: jane.ID, Login: &customersevents.Login{},
		}, events[0])
		assert.Equal(t, 1, r.accountCalls())
		assert.Equal(t, jane, r.read(t, jane.ID), "a log-in changes nothing of the customer")
	})
}

// Whoever cannot log in hears the same, and the auth service is asked the same for it: once, about an id that is always the
// same for an address.
func TestLoginRefused(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		active := r.customer(t, "active@example.com", service.Active)
		emails := []string{"nobody@example.com", "active@example.com"}
		for _, status := range statuses {
			if status != service.Active {
				c := r.customer(t, string(status)+"@example.com", status)
				emails = append(emails, c.Email)
			}
		}
		r.accounts.LogInCalls(passwords(active.ID))
		seen := make(map[string]bool)
		for _, email := range emails {
			var ids []string
			for _, spelled := range []string{email, strings.ToUpper(email)} {
				given := service.Credentials{Email: spelled, Password: password}
				if email == active.Email {
					given.Password = "wrong"
				}
				before := r.accountCalls()
				events := r.told(t, func() {
					_, err := r.customers.Login(t.Context(), given)
					requireError(t, err, errors.KindUnauthenticated, "there is no active customer with that address and password")
				})
				assert.Empty(t, events)
				require.Equal(t, before+1, r.accountCalls(), email)
				_, id, _ := r.accounts.LogInArgsForCall(r.accounts.LogInCallCount() - 1)
				ids = append(ids, id)
			}
			assert.Equal(t, ids[0], ids[1])
			assert.False(t, seen[ids[0]], "each has attempts of their own")
			assert.NotContains(t, ids[0], "/", "the auth service would take it for a service's")
			assert.NotContains(t, ids[0], "example", "an address goes nowhere")
			seen[ids[0]] = true
		}
	})
}

// What the auth service says besides goes on as it is.
func TestLoginErrors(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	r.customer(t, "jane@example.com", service.Active)
	for _, email := range []string{"jane@example.com", "nobody@example.com"} {
		for _, want := range []error{errors.TooMany("too many attempts have failed: try again in 30 seconds"), errAway} {
			r.accounts.LogInReturns(service.Session{}, want)
			_, err := r.customers.Login(t.Context(), service.Credentials{Email: email, Password: password})
			require.Equal(t, want, err)
			r.accounts.RefreshReturns(service.Session{}, want)
			_, err = r.customers.Login(t.Context(), service.Credentials{RefreshToken: "refresh"})
			require.Equal(t, want, err)
		}
	}
	before := r.accountCalls()
	for name, tc := range map[string]struct {
		given service.Credentials
		text  string
	}{
		"nothing":             {service.Credentials{}, "email: give either email and password, or refresh_token"},
		"both":                {service.Credentials{Email: "jane@example.com", RefreshToken: "a"}, "email: give either"},
		"both, by password":   {service.Credentials{Password: "a", RefreshToken: "a"}, "email: give either"},
		"no password":         {service.Credentials{Email: "jane@example.com"}, "password: required"},
		"no address":          {service.Credentials{Password: "a"}, "email: required"},
		"malformed":           {service.Credentials{Email: "jane", Password: "a"}, "email: must be an address"},
		"long password":       {service.Credentials{Email: "jane@example.com", Password: strings.Repeat("x", 73)}, "password: must have at most 72 bytes"},
		"long token":          {service.Credentials{RefreshToken: strings.Repeat("x", 1025)}, "refresh_token: must have at most 1024 bytes"},
		"long address":        {service.Credentials{Email: strings.Repeat("x", 300)}, "email: must have at most 254 bytes"},
		"long token and more": {service.Credentials{Email: "a@b.c", Password: "a", RefreshToken: strings.Repeat("x", 1025)}, "refresh_token: must have"},
	} {
		_, err := r.customers.Login(t.Context(), tc.given)
		require.Error(t, err, name)
		requireError(t, err, errors.KindInvalid, tc.text)
	}
	require.Equal(t, before, r.accountCalls())
}

// Somebody who was banned while the password was looked at is not let in, and their session does not go on.
func TestBannedWhileLoggingIn(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		r.accounts.LogInCalls(func(ctx context.Context, id, given string) (service.Session, error) {
			require.NoError(t, calls["Ban"](r.customers, ctx, jane.ID))
			return passwords(jane.ID)(ctx, id, given)
		})
		events := r.told(t, func() {
			_, err := r.customers.Login(t.Context(), service.Credentials{Email: jane.Email, Password: password})
			requireError(t, err, errors.KindUnauthenticated, "there is no active customer with that address and password")
		})
		require.Len(t, events, 1, "the ban")
		require.Equal(t, 1, r.accounts.EndCallCount())
		_, account, session := r.accounts.EndArgsForCall(0)
		assert.Equal(t, []string{jane.ID, "session"}, []string{account, session})
	})
}

func TestRefresh(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		r.accounts.RefreshReturns(service.Session{Account: jane.ID, ID: "session", Token: issued}, nil)
		refresh := func() (service.Token, error) {
			return r.customers.Login(t.Context(), service.Credentials{RefreshToken: "before"})
		}
		events := r.told(t, func() {
			got, err := refresh()
			require.NoError(t, err)
			assert.Equal(t, issued, got)
		})
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeTokenRefresh, Customer: inEvent(jane), CallerId: jane.ID,
			TokenRefresh: &customersevents.TokenRefresh{},
		}, events[0])
		_, given := r.accounts.RefreshArgsForCall(0)
		assert.Equal(t, "before", given)
		assert.Equal(t, 1, r.accountCalls())

		for _, status := range []service.Status{service.AwaitingVerification, service.Verified, service.Banned} {
			_, err := r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: &status})
			require.NoError(t, err)
			ended := r.accounts.EndCallCount()
			_, err = refresh()
			requireError(t, err, errors.KindUnauthenticated, "the refresh token is not good, or not any more")
			require.Equal(t, ended+1, r.accounts.EndCallCount())
		}
		r.accounts.EndReturns(errAway)
		_, err := refresh()
		require.Equal(t, errAway, err, "it is tried again, so that the session ends")

		r.accounts.RefreshReturns(service.Session{Account: "admin", ID: "session", Token: issued}, nil)
		_, err = refresh()
		requireError(t, err, errors.KindUnauthenticated, "the refresh token is not good, or not any more")
		r.accounts.RefreshReturns(service.Session{}, errors.Unauthenticated("the credentials are refused"))
		_, err = refresh()
		requireError(t, err, errors.KindUnauthenticated, "the refresh token is not good, or not any more")
	})
}

// Nobody gets tokens of a log-in that cannot be told about.
func TestNoTokensWithoutTheEvent(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	r.accounts.LogInCalls(passwords(jane.ID))
	failure := stderrors.New("no outbox")
	r.outbox.AddReturns(failure)
	got, err := r.customers.Login(t.Context(), service.Credentials{Email: jane.Email, Password: password})
	require.ErrorIs(t, err, failure)
	require.Zero(t, got)
}

func TestLogout(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		events := r.told(t, func() {
			require.NoError(t, r.customers.Logout(as(t.Context(), jane.ID), service.Ending{CustomerID: jane.ID, Session: "session"}))
			require.NoError(t, r.customers.Logout(as(t.Context(), "admin"), service.Ending{CustomerID: jane.ID, All: true}))
			require.NoError(t, r.customers.Logout(t.Context(), service.Ending{CustomerID: jane.ID}), "a token of no session")
		})
		require.Len(t, events, 2)
		for i, caller := range []string{jane.ID, "admin"} {
			requireEvent(t, &customersevents.Event{
				Type: customersevents.EventType_EventTypeLogout, Customer: inEvent(jane), CallerId: caller, Logout: &customersevents.Logout{},
			}, events[i])
		}
		require.Equal(t, 1, r.accounts.EndCallCount())
		_, account, session := r.accounts.EndArgsForCall(0)
		assert.Equal(t, []string{jane.ID, "session"}, []string{account, session})
		require.Equal(t, 1, r.accounts.EndAllCallCount())
		_, account = r.accounts.EndAllArgsForCall(0)
		assert.Equal(t, jane.ID, account)

		r.accounts.EndAllReturns(errAway)
		events = r.told(t, func() {
			require.Equal(t, errAway, r.customers.Logout(t.Context(), service.Ending{CustomerID: jane.ID, All: true}))
			err := r.customers.Logout(t.Context(), service.Ending{All: true})
			requireError(t, err, errors.KindInvalid, "customer_id: must be the id of a customer")
			err = r.customers.Logout(t.Context(), service.Ending{CustomerID: "0190f8b0-0000-7000-8000-000000000000", All: true})
			requireError(t, err, errors.KindNotFound, "customer_id: there is no such customer")
		})
		require.Empty(t, events)
	})
}
