package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

var errAway = errors.Unavailable("the auth service is away")

// A ban whose block is late does not undo that the customer was unbanned meanwhile.
func TestLateBlock(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		called, release := make(chan struct{}), make(chan struct{})
		r.accounts.SetBlockedCalls(func(ctx context.Context, account string, blocked bool) (bool, error) {
			if blocked {
				close(called)
				<-release
			}
			return r.blocked.set(ctx, account, blocked)
		})
		banned := make(chan error, 1)
		go func() { banned <- calls["Ban"](r.customers, context.Background(), jane.ID) }()
		<-called
		require.NoError(t, calls["Unban"](r.customers, t.Context(), jane.ID))
		assert.Equal(t, 1, r.due(t), "that of the ban")
		close(release)
		require.NoError(t, <-banned)
		assert.False(t, r.blocked.has(jane.ID))
		assert.Zero(t, r.due(t))
	})
}

// What the auth service was not told, because it was away or the process died, it is told by the clock.
func TestReconcile(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		r.accounts.SetBlockedReturns(false, errAway)
		r.accounts.SetBlockedCalls(nil)
		requireError(t, calls["Ban"](r.customers, t.Context(), jane.ID), errors.KindUnavailable, "the change is made")
		assert.Equal(t, service.Banned, r.read(t, jane.ID).Status)
		requireError(t, calls["Ban"](r.customers, t.Context(), jane.ID), errors.KindUnavailable, "the change is made")
		assert.Equal(t, 2, r.due(t))

		require.NoError(t, r.customers.Reconcile(t.Context()), "whoever has made the change may be about to tell it")
		count := r.accounts.SetBlockedCallCount()
		r.clock.Turn(11 * time.Second)
		requireError(t, r.customers.Reconcile(t.Context()), errors.KindUnavailable, "")
		assert.Equal(t, count+1, r.accounts.SetBlockedCallCount(), "one is enough to see that it is away")

		r.accounts.SetBlockedCalls(r.blocked.set)
		require.NoError(t, r.customers.Reconcile(t.Context()))
		assert.True(t, r.blocked.has(jane.ID))
		assert.Zero(t, r.due(t))
		count = r.accounts.SetBlockedCallCount()
		require.NoError(t, r.customers.Reconcile(t.Context()))
		assert.Equal(t, count, r.accounts.SetBlockedCallCount())
	})
}

// Whoever is banned or deleted while they complete the signup has no account yet: it is blocked when it appears.
func TestAnAccountThatAppearsAfterABan(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		for _, name := range []string{"Ban", "Delete"} {
			jane := r.customer(t, name+"@example.com", service.Verified)
			r.blocked.miss(jane.ID, true)
			require.NoError(t, calls[name](r.customers, t.Context(), jane.ID))
			assert.Equal(t, 1, r.due(t), "there was nothing to block")
			r.clock.Turn(11 * time.Second)
			require.NoError(t, r.customers.Reconcile(t.Context()))
			assert.Equal(t, 1, r.due(t))
			r.blocked.miss(jane.ID, false)
			require.NoError(t, r.customers.Reconcile(t.Context()))
			assert.True(t, r.blocked.has(jane.ID), name)
			assert.Zero(t, r.due(t))
		}
	})
}

// An account that never appears is not waited for, but once more after the last moment at which it may.
func TestAnAccountThatNeverAppears(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Verified)
		r.blocked.miss(jane.ID, true)
		require.NoError(t, calls["Ban"](r.customers, t.Context(), jane.ID))
		r.clock.Turn(30*time.Second - time.Microsecond)
		require.NoError(t, r.customers.Reconcile(t.Context()))
		assert.Equal(t, 1, r.due(t))
		r.clock.Turn(time.Microsecond)
		count := r.accounts.SetBlockedCallCount()
		require.NoError(t, r.customers.Reconcile(t.Context()))
		assert.Equal(t, count+1, r.accounts.SetBlockedCallCount())
		assert.Zero(t, r.due(t))

		// Whoever may log in need not have an account.
		_, err := r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: new(service.Active)})
		require.NoError(t, err)
		assert.Zero(t, r.due(t))
	})
}

// There may be many, and some that the auth service refuses; and the customer may be gone.
func TestReconcileOfMany(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		const many = 230
		jane := r.customer(t, "jane@example.com", service.Banned)
		john := r.customer(t, "john@example.com", service.Banned)
		require.NoError(t, r.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			for i := range many {
				id := []string{jane.ID, john.ID, uuid.NewString()}[i%3]
				_, err := tx.Exec(ctx, `INSERT INTO customers_unsettled (id, customer_id, made) VALUES ($1, $2, 1)`, fmt.Sprintf("%03d", i), id)
				if err != nil {
					return err
				}
			}
			return nil
		}))
		refused := stderrors.New("not a customer's")
		r.accounts.SetBlockedCalls(func(_ context.Context, account string, _ bool) (bool, error) {
			if account == john.ID {
				return false, refused
			}
			return true, nil
		})
		require.ErrorIs(t, r.customers.Reconcile(t.Context()), refused)
		assert.Equal(t, many/3+1, r.due(t), "those that were refused are tried again")
	})
}

// A customer whose status changes all the time is left to the clock.
func TestRestlessStatus(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	inside := false
	r.accounts.SetBlockedCalls(func(ctx context.Context, _ string, blocked bool) (bool, error) {
		if inside {
			return true, nil
		}
		inside = true
		defer func() { inside = false }()
		return true, calls[map[bool]string{true: "Unban", false: "Ban"}[blocked]](r.customers, ctx, jane.ID)
	})
	requireError(t, calls["Ban"](r.customers, t.Context(), jane.ID), errors.KindUnavailable, "the change is made")
	assert.Equal(t, 1, r.due(t))
}

// The note and the change are one: neither is there without the other.
func TestNothingIsDueWithoutAChange(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		failure := stderrors.New("no outbox")
		r.outbox.AddReturns(failure)
		require.ErrorIs(t, calls["Ban"](r.customers, t.Context(), jane.ID), failure)
		require.ErrorIs(t, calls["Delete"](r.customers, t.Context(), jane.ID), failure)
		_, err := r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: new(service.Banned)})
		require.ErrorIs(t, err, failure)
		assert.Zero(t, r.due(t))
		assert.Equal(t, jane, r.read(t, jane.ID))
	})
}
