package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
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

// signedUp is what the consumer does with an event.
func (w *world) signedUp(t *testing.T, id, email string) error {
	t.Helper()
	w.mu.Lock()
	at := w.now
	w.mu.Unlock()
	return w.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return w.Welcome(ctx, tx, id, email, at) })
}

func TestWelcome(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		const id = "01890a5d-ac96-774b-bcce-b302099a8057"
		require.NoError(t, w.SendWelcomes(t.Context()))
		for range 7 {
			require.NoError(t, w.signedUp(t, id, "Jane@example.com"))
		}
		require.Empty(t, w.mails, "not in the transaction")
		written := w.now.Truncate(time.Microsecond)
		w.pass(time.Minute)
		for range 2 {
			require.NoError(t, w.SendWelcomes(t.Context()))
		}
		require.Len(t, w.mails, 1)
		require.Equal(t, id, w.mails[0].ID)
		require.Equal(t, "Jane@example.com", w.mails[0].To)
		require.Equal(t, written, w.mails[0].Date)
		require.Equal(t, "Welcome", w.mails[0].Subject)
		require.Zero(t, count(t, db, "welcomes"))

		err := w.signedUp(t, id, "")
		require.EqualError(t, err, "customer.email: required")
		require.True(t, errors.Permanent(err))
	})
}

// A transaction that is undone welcomes nobody.
func TestWelcomeIsUndone(t *testing.T) {
	t.Parallel()
	w := setup(t, databasetest.Open(t, "signup", migrations.FS))
	failure := stderrors.New("another event has failed")
	require.ErrorIs(t, w.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		require.NoError(t, w.Welcome(ctx, tx, uuid.NewString(), jane, w.now))
		return failure
	}), failure)
	require.NoError(t, w.SendWelcomes(t.Context()))
	require.Empty(t, w.mails)
}

// Many welcomes, of which the server refuses some for a while and one for good: all others are sent, each once.
func TestWelcomesThatFail(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		works := w.mailer.SendStub
		w.mailer.SendStub = func(ctx context.Context, m service.Mail) error {
			if m.To == "never@example.com" {
				return errors.Invalid("", "the mail server refuses the recipient (550)")
			}
			if m.To == "later@example.com" && w.mailer.SendCallCount() < 300 {
				return stderrors.New("the mail server answers 451")
			}
			return works(ctx, m)
		}
		require.NoError(t, w.signedUp(t, uuid.NewString(), "never@example.com"))
		require.NoError(t, w.signedUp(t, uuid.NewString(), "later@example.com"))
		for i := range 250 {
			require.NoError(t, w.signedUp(t, uuid.NewString(), fmt.Sprintf("%d@example.com", i)))
		}
		require.NoError(t, w.SendWelcomes(t.Context()))
		require.Len(t, w.mails, 250)
		require.Equal(t, 1, count(t, db, "welcomes"))
		require.Equal(t, 252, w.mailer.SendCallCount())
		seen := make(map[string]bool)
		for _, m := range w.mails {
			require.False(t, seen[m.ID])
			seen[m.ID] = true
		}

		// It is tried after one second, two, four, and so on up to ten minutes, for as long as it takes.
		for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600} {
			calls := w.mailer.SendCallCount()
			w.pass(wait*time.Second - time.Microsecond)
			require.NoError(t, w.SendWelcomes(t.Context()))
			require.Equal(t, calls, w.mailer.SendCallCount(), wait)
			w.pass(time.Microsecond)
			require.NoError(t, w.SendWelcomes(t.Context()))
			require.Equal(t, calls+1, w.mailer.SendCallCount(), wait)
		}
		w.mailer.SendStub = works
		w.pass(10 * time.Minute)
		require.NoError(t, w.SendWelcomes(t.Context()))
		require.Len(t, w.mails, 251)
		require.Zero(t, count(t, db, "welcomes"))
	})
}

// Who is told to stop does not count what was broken off, and remembers what was sent.
func TestWelcomesAreBrokenOff(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "signup", migrations.FS)
	w := setup(t, db)
	works := w.mailer.SendStub
	require.NoError(t, w.signedUp(t, uuid.NewString(), jane))
	ctx, cancel := context.WithCancel(t.Context())
	w.mailer.SendStub = func(context.Context, service.Mail) error {
		cancel()
		return ctx.Err()
	}
	require.NoError(t, w.SendWelcomes(ctx))
	w.mailer.SendStub = works
	require.NoError(t, w.SendWelcomes(t.Context()))
	require.Len(t, w.mails, 1)

	require.NoError(t, w.signedUp(t, uuid.NewString(), "joe@example.com"))
	ctx, cancel = context.WithCancel(t.Context())
	w.mailer.SendStub = func(_ context.Context, m service.Mail) error {
		cancel()
		return works(ctx, m)
	}
	_ = w.SendWelcomes(ctx)
	require.Len(t, w.mails, 2)
	require.Zero(t, count(t, db, "welcomes"))
	require.NoError(t, db.Close())
	require.Error(t, w.SendWelcomes(t.Context()))
}
