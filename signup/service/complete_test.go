package service_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// notGood requires the one answer to every token that is none.
func notGood(t require.TestingT, err error, what ...any) {
	require.EqualError(t, err, "token: is not good, or not any more: ask for another one", what...)
	require.Equal(t, errors.KindInvalid, errors.KindOf(err), what...)
}

func TestCompleteSignup(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, "Jane@example.com")
		// As people enter it.
		session, err := w.CompleteSignup(t.Context(), "JANE@EXAMPLE.com", " "+strings.ToLower(token)+"\r\n", secret)
		require.NoError(t, err)
		id := w.people[jane].Id
		require.Equal(t, service.Session{AuthToken: "token of " + id, CustomerID: id, Namespace: "micro"}, session)
		require.Equal(t, "active", w.status(jane))
		require.Equal(t, map[string]string{id: secret}, w.passwords)

		// Each was asked once, and none more than is needed.
		require.Equal(t, 1, w.customers.MarkVerifiedCallCount())
		require.Equal(t, 1, w.auth.GenerateCallCount())
		require.Equal(t, 0, w.accounts.ChangeSecretCallCount())
		require.Equal(t, 1, w.customers.ActivateCallCount())
		require.Equal(t, 1, w.customers.LoginCallCount())
		_, account, _ := w.auth.GenerateArgsForCall(0)
		require.Equal(t, "micro", account.Options.Namespace)

		_, err = w.CompleteSignup(t.Context(), jane, token, secret)
		notGood(t, err, "used")
		_, err = w.CompleteSignup(t.Context(), jane, token, "another one")
		notGood(t, err, "used")
		require.Equal(t, map[string]string{id: secret}, w.passwords)
		require.Zero(t, count(t, db, "tokens"))
		require.Zero(t, w.outbox.AddCallCount(), "customers publishes it")
	})
}

func TestTokensThatAreNotGood(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		require.NoError(t, w.SendVerificationEmail(t.Context(), "joe@example.com"))
		joes := tokenOf(w.mails[0])
		first := w.token(t, w.SendVerificationEmail, jane)
		second := w.token(t, w.SendVerificationEmail, jane)
		w.person("active@example.com", "active")
		reset := w.token(t, w.Recover, "active@example.com")
		for name, tc := range map[string]struct{ email, token string }{
			"replaced":             {jane, first},
			"somebody else's":      {jane, joes},
			"of another address":   {"joe@example.com", second},
			"of nobody":            {"nobody@example.com", second},
			"for something else":   {"active@example.com", reset},
			"made up":              {jane, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
			"empty":                {jane, ""},
			"too short":            {jane, second[1:]},
			"too long":             {jane, second + "A"},
			"of other characters":  {jane, strings.Replace(second, second[:1], "1", 1)},
			"of 1 MB":              {jane, strings.Repeat("A", 1<<20)},
			"with a hole":          {jane, second[:13] + " " + second[13:]},
			"an empty one's hash":  {jane, "00000000000000000000000000"},
			"with a zero byte":     {jane, second + "\x00"},
			"with much around it":  {jane, strings.Repeat(" ", 100) + second},
			"that is no UTF-8":     {jane, second[:25] + "\xff"},
			"in full width":        {jane, "Ａ" + second[1:]},
			"of a letter that ups": {jane, "ſ" + second[1:]},
		} {
			_, err := w.CompleteSignup(t.Context(), tc.email, tc.token, secret)
			notGood(t, err, name)
		}
		for name, tc := range map[string]struct{ email, token string }{
			"a token to sign up": {jane, second}, "of another address": {jane, reset}, "made up": {"active@example.com", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		} {
			notGood(t, w.ResetPassword(t.Context(), tc.email, tc.token, secret), name)
		}
		require.Equal(t, "awaiting_verification", w.status(jane))
		require.Equal(t, map[string]string{w.people["active@example.com"].Id: "the old one"}, w.passwords)
		require.Zero(t, w.customers.MarkVerifiedCallCount())

		require.NoError(t, w.ResetPassword(t.Context(), "active@example.com", reset, secret))
		w.pass(time.Hour - time.Microsecond)
		_, err := w.CompleteSignup(t.Context(), jane, second, secret)
		require.NoError(t, err, "until its last microsecond")
		w.pass(time.Microsecond)
		_, err = w.CompleteSignup(t.Context(), "joe@example.com", joes, secret)
		notGood(t, err, "expired")
	})
}

func TestAttempts(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setupWith(t, db, func(s *service.Settings) { s.Token.Attempts = 3 })
		wrong := func(times int) {
			for range times {
				_, err := w.CompleteSignup(t.Context(), jane, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", secret)
				notGood(t, err)
			}
		}
		first := w.token(t, w.SendVerificationEmail, jane)
		wrong(2)
		_, err := w.CompleteSignup(t.Context(), jane, first, "short") // neither counts nor uses it up
		require.EqualError(t, err, "secret: must have 8 to 72 bytes, and no zero bytes")
		_, err = w.CompleteSignup(t.Context(), jane, "no token at all", secret)
		notGood(t, err)
		wrong(1)
		_, err = w.CompleteSignup(t.Context(), jane, first, secret)
		notGood(t, err, "after too many attempts")

		second := w.token(t, w.SendVerificationEmail, jane)
		wrong(2)
		_, err = w.CompleteSignup(t.Context(), jane, second, secret)
		require.NoError(t, err, "a new one has its own attempts")
	})
}

// However many guess at once, no more than there may be are looked at.
func TestAttemptsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _, _ = w.CompleteSignup(context.Background(), jane, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", secret) })
		}
		wg.Wait()
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		notGood(t, err)
	})
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	w.person("active@example.com", "active")
	token, reset := w.token(t, w.SendVerificationEmail, jane), w.token(t, w.Recover, "active@example.com")
	for _, wrong := range []string{"", "7 bytes", strings.Repeat("a", 73), "correct\x00horse", strings.Repeat("a", 1<<20)} {
		_, err := w.CompleteSignup(t.Context(), jane, token, wrong)
		require.EqualError(t, err, "secret: must have 8 to 72 bytes, and no zero bytes")
		err = w.ResetPassword(t.Context(), "active@example.com", reset, wrong)
		require.EqualError(t, err, "password: must have 8 to 72 bytes, and no zero bytes")
		require.Equal(t, errors.KindInvalid, errors.KindOf(err))
	}
	_, err := w.CompleteSignup(t.Context(), jane, token, strings.Repeat("a", 72))
	require.NoError(t, err)
	require.NoError(t, w.ResetPassword(t.Context(), "active@example.com", reset, "8 bytes!"))
}

// What becomes of a token when somebody else has changed the customer meanwhile.
func TestSignupOfOneWhoHasChanged(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, tc := range []struct {
			status string
			again  bool
		}{{"banned", true}, {"inactive", true}, {"active", false}} {
			w := setup(t, db)
			email := tc.status + "@example.com"
			token := w.token(t, w.SendVerificationEmail, email)
			c := w.people[email]
			c.Status = tc.status
			w.passwords[c.Id] = "the old one"
			_, err := w.CompleteSignup(t.Context(), email, token, secret)
			if tc.again {
				require.EqualError(t, err, "this address cannot be used: ask the operator of the platform")
				require.Equal(t, errors.KindForbidden, errors.KindOf(err))
			} else {
				notGood(t, err, "a token to sign up changes no password")
			}
			require.Equal(t, "the old one", w.passwords[c.Id])
			c.Status = "verified"
			_, err = w.CompleteSignup(t.Context(), email, token, secret)
			if tc.again {
				require.NoError(t, err)
			} else {
				notGood(t, err, "and is used up")
			}
		}
		// The address has become another customer's.
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		w.people[jane].Id = "0190ffff-0000-7000-8000-000000000000"
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		notGood(t, err)
		delete(w.people, jane)
		_, err = w.CompleteSignup(t.Context(), jane, token, secret)
		notGood(t, err)
		require.Empty(t, w.passwords)
	})
}

func TestResetPassword(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		id := w.person("Jane@example.com", "active").Id
		token := w.token(t, w.Recover, jane)
		require.NoError(t, w.ResetPassword(t.Context(), jane, token, secret))
		require.Equal(t, map[string]string{id: secret}, w.passwords)
		require.Equal(t, 1, w.accounts.ChangeSecretCallCount())
		_, change, _ := w.accounts.ChangeSecretArgsForCall(0)
		require.Empty(t, change.OldSecret)
		require.Equal(t, "micro", change.Options.Namespace)
		require.Zero(t, w.auth.GenerateCallCount())

		require.Equal(t, 1, w.outbox.AddCallCount())
		_, _, drafts := w.outbox.AddArgsForCall(0)
		require.Len(t, drafts, 1)
		require.Equal(t, "customers", drafts[0].Topic)
		require.Equal(t, "signup/"+id, drafts[0].Aggregate)
		event, ok := drafts[0].Message.(*customersevents.Event)
		require.True(t, ok)
		require.Equal(t, customersevents.EventType_EventTypePasswordReset, event.Type)
		require.NotNil(t, event.PasswordReset)
		require.Equal(t, id, event.Customer.Id)
		require.Empty(t, event.Customer.Email)

		notGood(t, w.ResetPassword(t.Context(), jane, token, "another one"), "used")
		require.Equal(t, map[string]string{id: secret}, w.passwords)
		require.Equal(t, 1, w.outbox.AddCallCount())
	})
}

func TestResetOfOneWhoHasChanged(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		id := w.person(jane, "active").Id
		token := w.token(t, w.Recover, jane)
		for _, status := range []string{"awaiting_verification", "verified", "inactive", "banned"} {
			w.people[jane].Status = status
			notGood(t, w.ResetPassword(t.Context(), jane, token, secret), status)
		}
		w.people[jane].Status, w.people[jane].Id = "active", "0190ffff-0000-7000-8000-000000000000"
		notGood(t, w.ResetPassword(t.Context(), jane, token, secret), "another customer's address by now")
		require.Equal(t, "the old one", w.passwords[id])
		// An operator has made somebody active who has never had a password.
		w.people[jane].Id = id
		delete(w.passwords, id)
		require.NoError(t, w.ResetPassword(t.Context(), jane, token, secret))
		require.Equal(t, map[string]string{id: secret}, w.passwords)
		require.Equal(t, 1, w.outbox.AddCallCount())
	})
}
