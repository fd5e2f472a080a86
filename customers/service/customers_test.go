package service_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/fakes"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
)

// start is when the clock of the tests starts. It has more digits than are kept.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)

// kept is start as it is kept.
var kept = start.Truncate(time.Microsecond)

// clock is turned by the tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// each runs f on each database.
func each(t *testing.T, f func(t *testing.T, c *service.Customers, clock *clock)) {
	t.Helper()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		clock := &clock{now: start}
		c, err := service.New(service.Config{DB: db, Outbox: &fakes.FakeOutbox{}, Accounts: &fakes.FakeAccounts{}, Mails: &fakes.FakeMails{}, Clock: clock.Now})
		require.NoError(t, err)
		f(t, c, clock)
	})
}

// setup is for tests to which it does not matter which database it is.
func setup(t testing.TB) (*service.Customers, *clock) {
	t.Helper()
	clock := &clock{now: start}
	c, err := service.New(service.Config{
		DB: databasetest.Open(t, "customers", migrations.FS), Outbox: &fakes.FakeOutbox{}, Accounts: &fakes.FakeAccounts{}, Mails: &fakes.FakeMails{}, Clock: clock.Now,
	})
	require.NoError(t, err)
	return c, clock
}

func create(t testing.TB, c *service.Customers, email, name string) service.Customer {
	t.Helper()
	customer, err := c.Create(context.Background(), service.NewCustomer{Email: email, Name: name})
	require.NoError(t, err)
	return customer
}

// requireError requires an error of a kind that begins with a text.
func requireError(t *testing.T, err error, kind errors.Kind, text string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, errors.KindOf(err), "%v", err)
	require.Contains(t, err.Error(), text)
}

func all(t testing.TB, c *service.Customers) []service.Customer {
	t.Helper()
	page, err := c.List(context.Background(), service.ListQuery{Size: 100})
	require.NoError(t, err)
	require.Empty(t, page.Next)
	return page.Customers
}

func TestCreate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *service.Customers, clock *clock) {
		meta := map[string]string{"plan": "früh", "line": "a\nb"}
		got, err := c.Create(t.Context(), service.NewCustomer{Email: "Jane.Doe@Example.COM", Name: " Jane ", Meta: meta})
		require.NoError(t, err)
		id, err := uuid.Parse(got.ID)
		require.NoError(t, err)
		assert.Equal(t, uuid.Version(7), id.Version())
		want := service.Customer{
			ID: got.ID, Status: service.AwaitingVerification, Email: "Jane.Doe@example.com", Name: "Jane", Meta: meta,
			Created: kept, Updated: kept, Version: 1,
		}
		assert.Equal(t, want, got)

		clock.Turn(time.Hour)
		again, err := c.Create(t.Context(), service.NewCustomer{Email: "JANE.DOE@example.com", Name: "Somebody else"})
		require.NoError(t, err)
		assert.Equal(t, want, again, "the one that there was, as it was")

		for _, ref := range []service.Ref{{ID: got.ID}, {ID: strings.ToUpper(got.ID)}, {Email: "jane.doe@EXAMPLE.com"}} {
			read, err := c.Read(t.Context(), ref)
			require.NoError(t, err)
			assert.Equal(t, want, read)
		}
	})
}

// Of many who create a customer of one address, in whatever case, at the same time: one customer, and one event.
func TestCreateAtOnce(t *testing.T) {
	const callers = 1000
	eachRoom(t, func(t *testing.T, r *room) {
		c := r.customers
		ids := make(chan string, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				email := []byte("jane.doe@example.com")
				for b := range email {
					if i>>(b%10)&1 == 1 {
						email[b] = strings.ToUpper(string(email[b]))[0]
					}
				}
				customer, err := c.Create(context.Background(), service.NewCustomer{Email: string(email)})
				assert.NoError(t, err)
				ids <- customer.ID
			})
		}
		wg.Wait()
		close(ids)
		one := <-ids
		for id := range ids {
			assert.Equal(t, one, id)
		}
		assert.Len(t, all(t, c), 1)
		// A transaction that is done again has called the outbox before, with what was never committed.
		assert.Equal(t, 1, r.outbox.AddCallCount())
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *service.Customers, clock *clock) {
		jane, john := create(t, c, "jane@example.com", "Jane"), create(t, c, "john@example.com", "John")
		clock.Turn(time.Hour)
		require.NoError(t, c.Delete(t.Context(), service.Ref{Email: "JANE@example.com"}))
		want, err := c.Read(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		assert.Equal(t, service.Inactive, want.Status)
		assert.Equal(t, jane.Version+1, want.Version)
		assert.Equal(t, kept.Add(time.Hour), want.Updated)
		assert.Equal(t, jane.Email, want.Email)
		clock.Turn(time.Hour)
		require.NoError(t, c.Delete(t.Context(), service.Ref{ID: jane.ID}), "once more")
		got, err := c.Read(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		assert.Equal(t, want, got)

		_, err = c.Create(t.Context(), service.NewCustomer{Email: "Jane@Example.com"})
		requireError(t, err, errors.KindConflict, "email: belongs to a customer that is deleted")

		got, err = c.Read(t.Context(), service.Ref{ID: john.ID})
		require.NoError(t, err)
		assert.Equal(t, john, got, "the other is as it was")
	})
}

func TestReferences(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	jane := create(t, c, "jane@example.com", "")
	for name, tc := range map[string]struct {
		ref  service.Ref
		kind errors.Kind
		text string
	}{
		"neither":         {service.Ref{}, 400, "id: give either id or email"},
		"both":            {service.Ref{ID: jane.ID, Email: jane.Email}, 400, "id: give either id or email"},
		"no id":           {service.Ref{ID: "17"}, 400, "id: must be the id of a customer"},
		"another UUID":    {service.Ref{ID: "{" + jane.ID + "}"}, 400, "id: must be the id of a customer"},
		"no address":      {service.Ref{Email: "jane"}, 400, "email: must be an address"},
		"unknown id":      {service.Ref{ID: uuid.NewString()}, 404, "id: there is no such customer"},
		"unknown address": {service.Ref{Email: "john@example.com"}, 404, "email: there is no such customer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.Read(t.Context(), tc.ref)
			requireError(t, err, tc.kind, tc.text)
			requireError(t, c.Delete(t.Context(), tc.ref), tc.kind, tc.text)
		})
	}
	t.Cleanup(func() { assert.Equal(t, []service.Customer{jane}, all(t, c)) })
}

func TestFieldLimits(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	jane := create(t, c, "jane@example.com", "Jane")
	meta := func(n, key, value int) map[string]string {
		m := make(map[string]string)
		for i := range n {
			k := fmt.Sprintf("%02d", i) + strings.Repeat("ä", key)
			m[string([]rune(k)[:key])] = strings.Repeat("ö", value)
		}
		return m
	}
	for name, tc := range map[string]struct {
		name string
		meta map[string]string
		text string
	}{
		"all there may be":     {strings.Repeat("ü", 256), meta(50, 40, 500), ""},
		"long name":            {strings.Repeat("ü", 257), nil, "name: must have at most 256 characters"},
		"control in the name":  {"a\x00b", nil, "name: must not contain control characters"},
		"newline in the name":  {"a\nb", nil, "name: must not contain control characters"},
		"many keys":            {"", meta(51, 40, 0), "meta: must have at most 50 keys"},
		"long key":             {"", meta(1, 41, 0), "meta: each key must have 1 to 40 characters"},
		"empty key":            {"", map[string]string{"": "a"}, "meta: each key must have 1 to 40 characters"},
		"control in a key":     {"", map[string]string{"a\nb": "a"}, "meta: each key must have 1 to 40 characters"},
		"long value":           {"", meta(1, 1, 501), "meta: each value must have at most 500 characters"},
		"control in the value": {"", map[string]string{"a": "\x00"}, "meta: each value must have no control characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := service.NewCustomer{Email: uuid.NewString() + "@example.com", Name: tc.name, Meta: tc.meta}
			got, err := c.Create(t.Context(), n)
			_, uerr := c.Update(t.Context(), service.Change{ID: jane.ID, Name: &tc.name, Meta: &tc.meta})
			if tc.text != "" {
				requireError(t, err, errors.KindInvalid, tc.text)
				requireError(t, uerr, errors.KindInvalid, tc.text)
				_, err = c.Read(t.Context(), service.Ref{Email: n.Email})
				requireError(t, err, errors.KindNotFound, "email")
				return
			}
			require.NoError(t, err)
			require.NoError(t, uerr)
			assert.Equal(t, tc.name, got.Name)
			read, err := c.Read(t.Context(), service.Ref{ID: jane.ID})
			require.NoError(t, err)
			assert.Equal(t, tc.meta, read.Meta)
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "customers", migrations.FS)
	_, err := service.New(service.Config{Outbox: &fakes.FakeOutbox{}})
	require.EqualError(t, err, "customers: a database is missing")
	_, err = service.New(service.Config{DB: db})
	require.EqualError(t, err, "customers: an outbox is missing")
	_, err = service.New(service.Config{DB: db, Outbox: &fakes.FakeOutbox{}})
	require.EqualError(t, err, "customers: accounts are missing")
	_, err = service.NewKeys(service.KeysConfig{Outbox: &fakes.FakeOutbox{}})
	require.EqualError(t, err, "keys: a database is missing")
	_, err = service.NewKeys(service.KeysConfig{DB: db})
	require.EqualError(t, err, "keys: an outbox is missing")
}

func TestMigrationsUpDownUp(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))
		c, err := service.New(service.Config{DB: db, Outbox: &fakes.FakeOutbox{}, Accounts: &fakes.FakeAccounts{}, Mails: &fakes.FakeMails{}})
		require.NoError(t, err)
		create(t, c, "jane@example.com", "Jane")
	})
}
