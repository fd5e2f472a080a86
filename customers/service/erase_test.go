package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// joe has everything that a customer can have here.
func joe(t *testing.T, r *room) service.Customer {
	t.Helper()
	c, err := r.customers.Create(t.Context(), service.NewCustomer{
		Email: "Joe.Bloggs@example.com", Name: "Joe Bloggs", Meta: map[string]string{"phone": "555-1234"},
	})
	require.NoError(t, err)
	active := service.Active
	_, err = r.customers.Update(t.Context(), service.Change{ID: c.ID, Status: &active})
	require.NoError(t, err)
	_, _, err = r.keys.Generate(t.Context(), service.NewKey{CustomerID: c.ID, Description: "Joe's kitchen"})
	require.NoError(t, err)
	return r.read(t, c.ID)
}

// rows are all rows of a table as text.
func rows(t *testing.T, db *database.DB, table string) string {
	t.Helper()
	found, err := db.Read().Query(context.Background(), `SELECT * FROM `+table)
	require.NoError(t, err)
	defer found.Close()
	columns, err := found.Columns()
	require.NoError(t, err)
	var b strings.Builder
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, found.Scan(into...))
		fmt.Fprintln(&b, values...)
	}
	require.NoError(t, found.Err())
	return b.String()
}

func TestErase(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		c := joe(t, r)
		r.clock.Turn(time.Hour)
		events := r.told(t, func() { require.NoError(t, r.customers.Erase(t.Context(), service.Ref{Email: c.Email})) })
		require.Len(t, events, 1)
		assert.Equal(t, customersevents.EventType_EventTypeDeleted, events[0].Type)
		assert.True(t, events[0].Deleted.Erased)
		assert.Equal(t, c.Email, events[0].Customer.Email, "signup knows nobody otherwise")
		assert.Empty(t, events[0].Customer.Name)
		assert.Empty(t, events[0].Customer.Meta)

		left := r.read(t, c.ID)
		assert.Equal(t, service.Customer{
			ID: c.ID, Status: service.Inactive, Created: c.Created, Updated: r.clock.Now().Truncate(time.Microsecond), Version: c.Version + 1,
		}, left)
		for _, table := range []string{"customers_customers", "customers_keys", "customers_unsettled", "customers_erasures"} {
			text := strings.ToLower(rows(t, r.db, table))
			assert.NotContains(t, text, "joe", table)
			assert.NotContains(t, text, "555-1234", table)
		}
		assert.True(t, r.blocked.has(c.ID), "sessions end at once")

		// Nothing brings them back, and the address is free.
		assert.Empty(t, r.told(t, func() { require.NoError(t, r.customers.Erase(t.Context(), service.Ref{ID: c.ID})) }))
		assert.Empty(t, r.told(t, func() { require.NoError(t, r.customers.Delete(t.Context(), service.Ref{ID: c.ID})) }))
		active, name := service.Active, "Joe"
		for _, change := range []service.Change{{ID: c.ID, Status: &active}, {ID: c.ID, Name: &name}} {
			_, err := r.customers.Update(t.Context(), change)
			require.Equal(t, errors.KindConflict, errors.KindOf(err))
		}
		again, err := r.customers.Create(t.Context(), service.NewCustomer{Email: c.Email})
		require.NoError(t, err)
		assert.NotEqual(t, c.ID, again.ID)
		assert.Equal(t, errors.KindNotFound, errors.KindOf(r.customers.Erase(t.Context(), service.Ref{Email: "nobody@example.com"})))
	})
}

// What cannot be told has not happened.
func TestEraseIsOneTransaction(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		c := joe(t, r)
		r.outbox.AddReturns(stderrors.New("disk full"))
		require.Error(t, r.customers.Erase(t.Context(), service.Ref{ID: c.ID}))
		require.Equal(t, c, r.read(t, c.ID))
		_, err := r.customers.ReadErasure(t.Context(), c.ID)
		require.Equal(t, errors.KindNotFound, errors.KindOf(err))
		kept, err := r.keys.List(t.Context(), c.ID)
		require.NoError(t, err)
		require.Len(t, kept, 1)
	})
}

func TestEraseAtOnce(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		c := joe(t, r)
		events := r.told(t, func() {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { assert.NoError(t, r.customers.Erase(context.Background(), service.Ref{ID: c.ID})) })
			}
			wg.Wait()
		})
		require.Len(t, events, 1)
	})
}

func TestReadErasure(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		c := joe(t, r)
		require.NoError(t, r.customers.Erase(t.Context(), service.Ref{ID: c.ID}))
		requested := r.clock.Now().Truncate(time.Microsecond)
		r.clock.Turn(time.Minute)
		require.NoError(t, r.customers.DeleteAccounts(t.Context()))
		require.Equal(t, 1, r.accounts.DeleteCallCount())
		note := func(by string) {
			require.NoError(t, r.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				return r.customers.NoteErased(ctx, tx, c.ID, by)
			}))
		}
		at := r.clock.Now().Truncate(time.Microsecond)
		note("usage")
		r.clock.Turn(24 * time.Hour)
		note("usage") // the first counts
		note("nobody")
		got, err := r.customers.ReadErasure(t.Context(), c.ID)
		require.NoError(t, err)
		require.Equal(t, []service.Erasure{
			{Service: "auth", Requested: requested, Erased: at},
			{Service: "billing", Requested: requested, Overdue: true},
			{Service: "customers", Requested: requested, Erased: requested},
			{Service: "mixpanel", Requested: requested, Overdue: true},
			{Service: "signup", Requested: requested, Overdue: true},
			{Service: "usage", Requested: requested, Erased: at},
		}, got)
		n, err := r.customers.Overdue(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
		for _, id := range []string{"", "x"} {
			_, err := r.customers.ReadErasure(t.Context(), id)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		}
	})
}

// An account may appear for a while that signup was about to make.
func TestAccountsAreDeletedWhenNoneAppears(t *testing.T) {
	r := oneRoom(t)
	c := joe(t, r)
	require.NoError(t, r.customers.Erase(t.Context(), service.Ref{ID: c.ID}))
	require.NoError(t, r.customers.DeleteAccounts(t.Context()))
	require.Zero(t, r.accounts.DeleteCallCount())
	r.clock.Turn(31 * time.Second)
	r.accounts.DeleteReturns(errors.Unavailable("away"))
	require.Error(t, r.customers.DeleteAccounts(t.Context()))
	r.accounts.DeleteReturns(nil)
	require.NoError(t, r.customers.DeleteAccounts(t.Context()))
	require.NoError(t, r.customers.DeleteAccounts(t.Context()))
	require.Equal(t, 2, r.accounts.DeleteCallCount(), "once more after it was away, and then it is done")
}

func TestEraseDeleted(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		old, active := joe(t, r), r.customer(t, "active@example.com", service.Active)
		require.NoError(t, r.customers.Delete(t.Context(), service.Ref{ID: old.ID}))
		r.clock.Turn(time.Minute)
		fresh := r.customer(t, "fresh@example.com", service.Inactive)
		r.clock.Turn(30*24*time.Hour - time.Minute)
		events := r.told(t, func() {
			require.NoError(t, r.customers.EraseDeleted(t.Context()))
			require.NoError(t, r.customers.EraseDeleted(t.Context()))
		})
		require.Len(t, events, 1)
		require.Equal(t, old.ID, events[0].Customer.Id)
		require.Empty(t, r.read(t, old.ID).Email)
		require.Equal(t, fresh, r.read(t, fresh.ID))
		require.Equal(t, active, r.read(t, active.ID))
	})
}
