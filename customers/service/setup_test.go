package service_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/fakes"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// room is everything that a test of the core can look at.
type room struct {
	db        *database.DB
	clock     *clock
	outbox    *fakes.FakeOutbox
	accounts  *fakes.FakeAccounts
	mails     *fakes.FakeMails
	blocked   *blocked
	customers *service.Customers
	keys      *service.Keys
}

// blocked is which accounts nobody may log in to. There is one of each customer but those that are missing.
type blocked struct {
	mu      sync.Mutex
	ids     map[string]bool
	missing map[string]bool
}

func (b *blocked) set(_ context.Context, account string, blocked bool) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.missing[account] {
		return false, nil
	}
	b.ids[account] = blocked
	return true, nil
}

// miss says whether there is no account of a customer.
func (b *blocked) miss(account string, missing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missing[account] = missing
}

func (b *blocked) has(account string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ids[account]
}

func newRoom(t testing.TB, db *database.DB) *room {
	t.Helper()
	r := &room{
		db: db, clock: &clock{now: start}, outbox: &fakes.FakeOutbox{}, accounts: &fakes.FakeAccounts{}, mails: &fakes.FakeMails{},
		blocked: &blocked{ids: make(map[string]bool), missing: make(map[string]bool)},
	}
	r.accounts.SetBlockedCalls(r.blocked.set)
	var err error
	r.customers, err = service.New(service.Config{DB: db, Outbox: r.outbox, Accounts: r.accounts, Mails: r.mails, Clock: r.clock.Now})
	require.NoError(t, err)
	r.keys, err = service.NewKeys(service.KeysConfig{DB: db, Outbox: r.outbox, Clock: r.clock.Now})
	require.NoError(t, err)
	return r
}

// eachRoom runs f on each database.
func eachRoom(t *testing.T, f func(t *testing.T, r *room)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) { f(t, newRoom(t, db)) })
}

// oneRoom is for tests to which it does not matter which database it is.
func oneRoom(t testing.TB) *room {
	t.Helper()
	return newRoom(t, databasetest.Open(t, "customers", migrations.FS))
}

// customer returns a new customer of a status.
func (r *room) customer(t testing.TB, email string, status service.Status) service.Customer {
	t.Helper()
	c := create(t, r.customers, email, "")
	ref, ctx := service.Ref{ID: c.ID}, context.Background()
	var err error
	switch status {
	case service.AwaitingVerification:
	case service.Inactive:
		require.NoError(t, r.customers.Delete(ctx, ref))
	case service.Banned:
		_, err = r.customers.Ban(ctx, ref, "")
	default:
		_, err = r.customers.Update(ctx, service.Change{ID: c.ID, Status: &status})
	}
	require.NoError(t, err)
	return r.read(t, c.ID)
}

func (r *room) read(t testing.TB, id string) service.Customer {
	t.Helper()
	c, err := r.customers.Read(context.Background(), service.Ref{ID: id})
	require.NoError(t, err)
	return c
}

// told are the events that a call has had published.
func (r *room) told(t testing.TB, f func()) []*customersevents.Event {
	t.Helper()
	before := r.outbox.AddCallCount()
	f()
	var events []*customersevents.Event
	for i := before; i < r.outbox.AddCallCount(); i++ {
		_, _, drafts := r.outbox.AddArgsForCall(i)
		require.Len(t, drafts, 1)
		m, ok := proto.Clone(drafts[0].Message).(*customersevents.Event)
		require.True(t, ok)
		require.Equal(t, m.Customer.Id, drafts[0].Aggregate, "events about a customer are in order")
		require.Equal(t, customersevents.Topic, drafts[0].Topic)
		events = append(events, m)
	}
	return events
}

// due is how many changes of a status the auth service has not been told.
func (r *room) due(t testing.TB) int {
	t.Helper()
	var n int
	require.NoError(t, r.db.Read().QueryRow(context.Background(), `SELECT COUNT(*) FROM customers_unsettled`).Scan(&n))
	return n
}

func (r *room) exec(t testing.TB, statement string) {
	t.Helper()
	require.NoError(t, r.db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, statement)
		return err
	}))
}
