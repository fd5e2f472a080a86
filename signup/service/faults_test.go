package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

// once makes the first call of a step fail.
func once(step string, err error) func(string) error {
	var failed atomic.Bool
	return func(now string) error {
		if now == step && failed.CompareAndSwap(false, true) {
			return err
		}
		return nil
	}
}

var signupSteps = []string{
	"before verify", "after verify", "before generate", "after generate", "before activate", "after activate", "before login", "after login",
}

// Whatever step fails, before or after it has had its effect: the same call again completes the signup, and a second one after
// that does nothing.
func TestSignupIsBrokenOff(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, step := range signupSteps {
			w := setup(t, db)
			email := fmt.Sprintf("%x@example.com", step)
			token := w.token(t, w.SendVerificationEmail, email)
			w.interrupted(once(step, refusal(503)))
			_, err := w.CompleteSignup(t.Context(), email, token, secret)
			require.Equal(t, errors.KindUnavailable, errors.KindOf(err), "%s: %v", step, err)

			session, err := w.CompleteSignup(t.Context(), email, token, secret)
			require.NoError(t, err, step)
			id := w.people[email].Id
			require.Equal(t, id, session.CustomerID)
			require.Equal(t, "token of "+id, session.AuthToken)
			require.Equal(t, map[string]string{id: secret}, w.passwords, step)
			require.Equal(t, "active", w.status(email))
			_, err = w.CompleteSignup(t.Context(), email, token, secret)
			notGood(t, err, step)
		}
	})
}

// Activate may have made the customer active and not have told the auth service: the same call has it told.
func TestSignupIsActivatedAgain(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		w.interrupted(once("after activate", refusal(503)))
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		require.Equal(t, errors.KindUnavailable, errors.KindOf(err))
		require.Equal(t, "active", w.status(jane))
		_, err = w.CompleteSignup(t.Context(), jane, token, secret)
		require.NoError(t, err)
		require.Equal(t, 2, w.customers.ActivateCallCount())
	})
}

// Who comes back with another password gets that one, as long as the first has not made them active.
func TestSignupIsBrokenOffAndGoesOnWithAnotherPassword(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, step := range signupSteps {
			w := setup(t, db)
			email := fmt.Sprintf("%x@example.com", step)
			token := w.token(t, w.SendVerificationEmail, email)
			w.interrupted(once(step, refusal(503)))
			_, err := w.CompleteSignup(t.Context(), email, token, secret)
			require.Error(t, err, step)
			wasActive := w.status(email) == "active"
			session, err := w.CompleteSignup(t.Context(), email, token, "another horse")
			id := w.people[email].Id
			if wasActive {
				notGood(t, err, step)
				require.Equal(t, map[string]string{id: secret}, w.passwords, step)
				continue
			}
			require.NoError(t, err, step)
			require.Equal(t, "token of "+id, session.AuthToken)
			require.Equal(t, map[string]string{id: "another horse"}, w.passwords, step)
		}
	})
}

// A process that was killed leaves its claim behind: nobody gets at the token until the claim is over, and then the same call
// completes what was begun.
func TestSignupIsKilled(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, step := range signupSteps {
			w := setup(t, db)
			email := fmt.Sprintf("%x@example.com", step)
			token := w.token(t, w.SendVerificationEmail, email)
			var claims string
			w.interrupted(func(now string) error {
				if now != step {
					return nil
				}
				claims = w.claims(t)
				return refusal(503)
			})
			_, err := w.CompleteSignup(t.Context(), email, token, secret)
			require.Error(t, err)
			w.claim(t, claims, 10*time.Second)
			w.interrupted(func(string) error { return nil })

			calls := w.customers.MarkVerifiedCallCount()
			for _, after := range []time.Duration{0, 10*time.Second - time.Microsecond} {
				w.pass(after)
				_, err = w.CompleteSignup(t.Context(), email, token, secret)
				require.EqualError(t, err, "token: is being used by another call: try again in a few seconds")
				require.Equal(t, errors.KindConflict, errors.KindOf(err))
			}
			require.Equal(t, calls, w.customers.MarkVerifiedCallCount())
			w.pass(time.Microsecond)
			session, err := w.CompleteSignup(t.Context(), email, token, secret)
			require.NoError(t, err, step)
			require.Equal(t, "token of "+w.people[email].Id, session.AuthToken)
			require.Equal(t, map[string]string{w.people[email].Id: secret}, w.passwords, step)
		}
	})
}

// claims are the claims there are, and claim is what a process leaves that has such a claim.
func (w *world) claims(t *testing.T) string {
	t.Helper()
	var id string
	require.NoError(t, w.db.Read().QueryRow(context.Background(), `SELECT claim FROM signup_tokens WHERE claim <> ''`).Scan(&id))
	return id
}

func (w *world) claim(t *testing.T, id string, lasts time.Duration) {
	t.Helper()
	require.NotEmpty(t, id)
	w.mu.Lock()
	until := w.now.Truncate(time.Microsecond).Add(lasts).UnixMicro()
	w.mu.Unlock()
	require.NoError(t, w.db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `UPDATE signup_tokens SET claim = $1, claimed_until = $2 WHERE hash <> ''`, id, until)
		return err
	}))
}

func TestResetIsBrokenOff(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, step := range []string{"before read", "after read", "before change", "after change", "outbox"} {
			w := setup(t, db)
			email := fmt.Sprintf("%x@example.com", step)
			id := w.person(email, "active").Id
			token := w.token(t, w.Recover, email)
			w.interrupted(once(step, refusal(503)))
			full := stderrors.New("the outbox is full")
			if step == "outbox" {
				w.outbox.AddReturnsOnCall(0, full)
			}
			require.Error(t, w.ResetPassword(t.Context(), email, token, secret), step)
			published := w.outbox.AddCallCount()
			require.NoError(t, w.ResetPassword(t.Context(), email, token, secret), step)
			require.Equal(t, map[string]string{id: secret}, w.passwords, step)
			require.Equal(t, published+1, w.outbox.AddCallCount())
			notGood(t, w.ResetPassword(t.Context(), email, token, secret), step)
		}
	})
}

// Whoever goes away in the middle can come back at once.
func TestTheCallerGoesAway(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	token := w.token(t, w.SendVerificationEmail, jane)
	ctx, cancel := context.WithCancel(t.Context())
	w.interrupted(func(step string) error {
		if step == "after generate" {
			cancel()
			return refusal(408)
		}
		return nil
	})
	_, err := w.CompleteSignup(ctx, jane, token, secret)
	require.Error(t, err)
	w.interrupted(func(string) error { return nil })
	_, err = w.CompleteSignup(t.Context(), jane, token, secret)
	require.NoError(t, err)
}

// One token and fifty who come with it at once: one completes, with one account; the others are told that somebody does, or has.
func TestSignupsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		var wg sync.WaitGroup
		type answer struct {
			session service.Session
			secret  string
			err     error
		}
		answers := make(chan answer, 50)
		for i := range cap(answers) {
			wg.Go(func() {
				a := answer{secret: fmt.Sprintf("the horse %d", i)}
				a.session, a.err = w.CompleteSignup(context.Background(), jane, token, a.secret)
				answers <- a
			})
		}
		wg.Wait()
		close(answers)
		id, completed := w.people[jane].Id, 0
		for a := range answers {
			if a.err == nil {
				completed++
				require.Equal(t, "token of "+id, a.session.AuthToken)
				require.Equal(t, map[string]string{id: a.secret}, w.passwords)
				continue
			}
			require.Contains(t, []errors.Kind{errors.KindInvalid, errors.KindConflict}, errors.KindOf(a.err), a.err)
		}
		require.Equal(t, 1, completed)
		require.Equal(t, 1, w.auth.GenerateCallCount())
		require.Equal(t, 1, w.customers.ActivateCallCount())
	})
}

func TestResetsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		w.person(jane, "active")
		token := w.token(t, w.Recover, jane)
		var wg sync.WaitGroup
		var done atomic.Int64
		for range 50 {
			wg.Go(func() {
				if w.ResetPassword(context.Background(), jane, token, secret) == nil {
					done.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, done.Load())
		require.Equal(t, 1, w.outbox.AddCallCount())
	})
}

// A newer token is not sent while the older one is being used: with it somebody could change the password of whom the older one is
// making active. What was not sent does not count.
func TestNoTokenIsReplacedWhileItIsUsed(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, step := range append(signupSteps, "before change") {
			w := setup(t, db)
			email, ask := fmt.Sprintf("%x@example.com", step), w.SendVerificationEmail
			use := func(token string) error {
				_, err := w.CompleteSignup(context.Background(), email, token, secret)
				return err
			}
			if step == "before change" {
				w.person(email, "active")
				ask = w.Recover
				use = func(token string) error { return w.ResetPassword(context.Background(), email, token, secret) }
			}
			token, asked := w.token(t, ask, email), 0
			w.interrupted(func(now string) error {
				if now != step {
					return nil
				}
				asked++
				return ask(context.Background(), email)
			})
			require.NoError(t, use(token), step)
			require.Equal(t, 1, asked, step)
			require.Len(t, w.sent(), 1, step)
			require.Equal(t, map[string]string{w.people[email].Id: secret}, w.passwords, step)
			w.interrupted(func(string) error { return nil })
			for range 5 {
				require.NoError(t, ask(t.Context(), email))
			}
			require.Len(t, w.sent(), 5, step)
		}
	})
}

// A call that was killed stands in the way of a newer token as long as its claim lasts.
func TestATokenIsReplacedAfterAKill(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		token := w.token(t, w.SendVerificationEmail, jane)
		w.claim(t, "killed", 10*time.Second)
		w.pass(10*time.Second - time.Microsecond)
		require.NoError(t, w.SendVerificationEmail(t.Context(), jane))
		require.Len(t, w.sent(), 1)
		w.pass(time.Microsecond)
		newer := w.token(t, w.SendVerificationEmail, jane)
		_, err := w.CompleteSignup(t.Context(), jane, token, secret)
		notGood(t, err)
		_, err = w.CompleteSignup(t.Context(), jane, newer, secret)
		require.NoError(t, err)
	})
}

// With a real outbox: the event is there when the password was changed, once, and when it cannot be, the token stays good.
func TestResetIsPublished(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, `CREATE TABLE signup_published (aggregate TEXT NOT NULL PRIMARY KEY)`)
			return err
		}))
		w := setup(t, db)
		w.person(jane, "active")
		token := w.token(t, w.Recover, jane)
		fail := true
		w.outbox.AddStub = func(ctx context.Context, tx database.Querier, drafts ...events.Draft) error {
			if _, err := tx.Exec(ctx, `INSERT INTO signup_published (aggregate) VALUES ($1)`, drafts[0].Aggregate); err != nil || !fail {
				return err
			}
			return stderrors.New("the outbox is full")
		}
		require.Error(t, w.ResetPassword(t.Context(), jane, token, secret))
		require.Zero(t, count(t, db, "published"))
		require.Equal(t, 1, count(t, db, "tokens"))
		fail = false
		require.NoError(t, w.ResetPassword(t.Context(), jane, token, secret))
		require.Equal(t, 1, count(t, db, "published"))
		require.Zero(t, count(t, db, "tokens"))
	})
}
