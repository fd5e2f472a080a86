package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// Whatever there is of an address: the same answer, and one mail, which goes to the address as its owner has written it.
func TestMailsByStatus(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		const owners, callers = "Jane.Doe", "jane.DOE"
		for _, tc := range []struct{ status, signup, recovery, to string }{
			{"", "Confirm your address", "There is no account with this address", callers},
			{"awaiting_verification", "Confirm your address", "Your signup is not complete", owners},
			{"verified", "Confirm your address", "Your signup is not complete", owners},
			{"active", "You have an account already", "Choose another password", owners},
			{"banned", "This address cannot be used", "This address cannot be used", owners},
		} {
			for i, ask := range []func(context.Context, string) error{w.Recover, w.SendVerificationEmail} {
				name, want := tc.status+" recovers", tc.recovery
				if i == 1 {
					name, want = tc.status+" signs up", tc.signup
				}
				w.mails = nil
				domain := fmt.Sprintf("@%d.x%s.example.com", i, strings.ReplaceAll(tc.status, "_", ""))
				if tc.status != "" {
					w.person(owners+domain, tc.status)
				}
				require.NoError(t, ask(t.Context(), callers+strings.ToUpper(domain)), name)
				require.Len(t, w.mails, 1, name)
				m := w.mails[0]
				require.Equal(t, want, m.Subject, name)
				require.Equal(t, tc.to+domain, m.To, name)
				require.EqualValues(t, 7, uuid.MustParse(m.ID).Version())
				require.Equal(t, w.now.Truncate(time.Microsecond), m.Date)
				hasToken := want == "Confirm your address" || want == "Choose another password"
				require.Equal(t, hasToken, tokenOf(m) != "", m.Text)
				require.Contains(t, m.HTML, tokenOf(m))
			}
		}
		// Of one who is deleted, customers says nothing but that.
		w.person("Joe@example.com", "inactive")
		for _, ask := range []func(context.Context, string) error{w.Recover, w.SendVerificationEmail} {
			w.mails = nil
			require.NoError(t, ask(t.Context(), "joe@example.com"))
			require.Equal(t, "This address cannot be used", w.mails[0].Subject)
			require.Empty(t, tokenOf(w.mails[0]))
		}
	})
}

// Recover makes no customers, and signing up makes one.
func TestWhoBecomesACustomer(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	require.NoError(t, w.Recover(t.Context(), jane))
	require.Empty(t, w.people)
	require.Zero(t, w.customers.CreateCallCount())
	for range 2 {
		require.NoError(t, w.SendVerificationEmail(t.Context(), jane))
	}
	require.Len(t, w.people, 1)
	require.Equal(t, "awaiting_verification", w.status(jane))
}

func TestNeitherTokensNorAddressesAreKept(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		kept := w.dump(t)
		require.NotEmpty(t, kept)
		for _, secret := range []string{token, strings.ToLower(token), jane, "example"} {
			require.NotContains(t, kept, secret)
		}
	})
}

// What is not an address is refused before anything else.
func TestWrongAddresses(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	for email, want := range map[string]string{
		"": "email: required", "jane": "email: must be an address with exactly one @",
		"jane@localhost":                            "email: must have a domain name such as example.com after the @",
		jane + "\r\nBcc: joe@example.com":           "email: must be an address with exactly one @",
		jane + "\n":                                 "email: must have a domain name such as example.com after the @",
		strings.Repeat("a", 1<<20) + "@a.bc":        "email: must have at most 254 bytes",
		"Jane <jane@example.com>":                   "email: must have letters, digits, single dots",
		"jane@exam" + string([]byte{0xff}) + ".com": "email: must have a domain name such as example.com after the @",
	} {
		_, err := w.CompleteSignup(t.Context(), email, "", "")
		for _, err := range []error{
			w.SendVerificationEmail(t.Context(), email), w.Recover(t.Context(), email), err, w.ResetPassword(t.Context(), email, "", ""),
		} {
			require.ErrorContains(t, err, want)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		}
	}
	require.Zero(t, w.customers.CreateCallCount()+w.customers.ReadCallCount())
	require.Empty(t, w.mails)
}

func TestDomainsThatCannotSignUp(t *testing.T) {
	t.Parallel()
	w := setupWith(t, databasetest.Open(t, "signup", migrations.FS), func(s *service.Settings) {
		s.AllowList = []string{"Example.com", "bücher.example"}
		s.BlockList = []string{"bad.example.com"}
	})
	for _, email := range []string{"a@example.com", "a@EXAMPLE.com", "a@mail.example.com", "a@xn--bcher-kva.example", "a@BÜCHER.example"} {
		require.NoError(t, w.SendVerificationEmail(t.Context(), email), email)
	}
	sent := len(w.mails)
	for _, email := range []string{"a@example.org", "a@badexample.com", "a@bad.example.com", "a@very.bad.example.com", "a@com.example"} {
		err := w.SendVerificationEmail(t.Context(), email)
		require.EqualError(t, err, "addresses of this domain cannot sign up here: take another one, or ask the operator of the platform")
		require.Equal(t, errors.KindForbidden, errors.KindOf(err))
		require.NoError(t, w.Recover(t.Context(), email), "who has an account has it")
	}
	require.Len(t, w.mails, sent+5)
}

// So many mails within any hour; beyond that the same answer, and the token of the last mail stays good.
func TestMailsPerHour(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setupWith(t, db, func(s *service.Settings) { s.MailsPerHour, s.Token.TTL = 3, 24*time.Hour })
		for range 2 {
			require.NoError(t, w.SendVerificationEmail(t.Context(), jane))
			w.pass(10 * time.Minute)
		}
		require.NoError(t, w.SendVerificationEmail(t.Context(), "JANE@example.com"))
		token := tokenOf(w.mails[2])
		for range 5 {
			require.NoError(t, w.SendVerificationEmail(t.Context(), jane))
			require.NoError(t, w.Recover(t.Context(), jane))
		}
		require.Len(t, w.mails, 3)
		require.NoError(t, w.Recover(t.Context(), "joe@example.com"), "of others nothing counts")
		require.Len(t, w.mails, 4)

		w.pass(40*time.Minute - time.Microsecond) // the first is not yet an hour old
		require.NoError(t, w.Recover(t.Context(), jane))
		require.Len(t, w.mails, 4)
		w.pass(time.Microsecond)
		for range 2 {
			require.NoError(t, w.Recover(t.Context(), jane))
		}
		require.Len(t, w.mails, 5)

		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		require.NoError(t, err)
	})
}

func TestMailsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		var wg sync.WaitGroup
		errs := make(chan error, 50)
		for range cap(errs) {
			wg.Go(func() { errs <- w.SendVerificationEmail(context.Background(), jane) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, w.sent(), 5)
		// Only one of them is the newest.
		good := 0
		for _, m := range w.sent() {
			if _, err := w.CompleteSignup(t.Context(), jane, tokenOf(m), secret); err == nil {
				good++
			}
		}
		require.Equal(t, 1, good)
	})
}

// A mail that is not sent is not counted, and the caller is told to try again, or that it is no use.
func TestMailsThatAreNotSent(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		works := w.mailer.SendStub
		for range 20 {
			w.mailer.SendStub = func(context.Context, service.Mail) error { return stderrors.New("10.0.0.1 is down") }
			err := w.SendVerificationEmail(t.Context(), jane)
			require.EqualError(t, err, "mail cannot be sent at the moment: try again in a few minutes")
			require.Equal(t, errors.KindUnavailable, errors.KindOf(err))
			w.mailer.SendStub = func(context.Context, service.Mail) error { return errors.Invalid("", "refused") }
			err = w.Recover(t.Context(), jane)
			require.EqualError(t, err, "email: mail to this address is refused: check it")
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		}
		w.mailer.SendStub = works
		token := w.token(t, w.SendVerificationEmail, jane)
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		require.NoError(t, err)
	})
}

// What another service refuses is not told as if the caller had done it, and nothing of its words is passed on.
func TestCustomersIsAway(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	for code, want := range map[int32]struct {
		kind errors.Kind
		text string
	}{
		400: {errors.KindInternal, ""},
		401: {errors.KindInternal, ""},
		403: {errors.KindInternal, ""},
		408: {errors.KindUnavailable, "something that this needs is away: try again in a moment"},
		429: {errors.KindTooMany, "too many are signing up or logging in: try again in a few seconds"},
		500: {errors.KindInternal, ""},
		503: {errors.KindUnavailable, "something that this needs is away: try again in a moment"},
	} {
		w.interrupted(func(string) error { return refusal(code) })
		for _, ask := range []func(context.Context, string) error{w.Recover, w.SendVerificationEmail} {
			err := ask(t.Context(), jane)
			require.Equal(t, want.kind, errors.KindOf(err), "%d: %v", code, err)
			if want.text != "" {
				require.EqualError(t, err, want.text)
			}
			require.NotErrorIs(t, err, refusal(code))
		}
	}
	w.interrupted(func(string) error { return stderrors.New("no Micro error") })
	require.Equal(t, errors.KindInternal, errors.KindOf(w.Recover(t.Context(), jane)))
	require.Empty(t, w.mails)
}

func TestADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "signup", migrations.FS)
	w := setup(t, db)
	token := w.token(t, w.SendVerificationEmail, jane)
	require.NoError(t, db.Close())
	_, err := w.CompleteSignup(t.Context(), jane, token, secret)
	for _, err := range []error{err, w.SendVerificationEmail(t.Context(), jane), w.ResetPassword(t.Context(), jane, token, secret), w.Sweep(t.Context())} {
		require.Equal(t, errors.KindInternal, errors.KindOf(err))
		require.NotContains(t, err.Error(), "jane")
		require.NotContains(t, err.Error(), token)
	}
	require.Len(t, w.mails, 1)
}

func TestSweep(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setupWith(t, db, func(s *service.Settings) { s.Token.TTL = 2 * time.Hour })
		for i := range 5 {
			require.NoError(t, w.SendVerificationEmail(t.Context(), fmt.Sprintf("%d@example.com", i)))
			require.NoError(t, w.Recover(t.Context(), fmt.Sprintf("%d@example.com", i)))
		}
		w.pass(30 * time.Minute)
		token := w.token(t, w.SendVerificationEmail, jane)
		for _, tc := range []struct {
			after         time.Duration
			tokens, mails int
		}{
			{30*time.Minute - time.Microsecond, 11, 6}, {time.Microsecond, 11, 1}, {30 * time.Minute, 11, 0}, {30 * time.Minute, 1, 0},
		} {
			w.pass(tc.after)
			for range 2 {
				require.NoError(t, w.Sweep(t.Context()))
			}
			require.Equal(t, tc.tokens, count(t, db, "tokens"))
			require.Equal(t, tc.mails, count(t, db, "mails"))
		}
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		require.NoError(t, err)
		require.NoError(t, w.Sweep(t.Context()))
		require.Zero(t, count(t, db, "tokens"))
	})
}
