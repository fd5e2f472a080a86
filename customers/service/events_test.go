package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/fakes"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// publishing runs f on each database, with the outbox that it can look into.
func publishing(t *testing.T, f func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, clock *clock)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		clock, outbox := &clock{now: start}, &fakes.FakeOutbox{}
		c, err := service.New(service.Config{DB: db, Outbox: outbox, Accounts: &fakes.FakeAccounts{}, Mails: &fakes.FakeMails{}, Clock: clock.Now})
		require.NoError(t, err)
		f(t, c, outbox, clock)
	})
}

// event is the n-th event that was added, which must have been the only one of its call.
func event(t *testing.T, outbox *fakes.FakeOutbox, n int) *customersevents.Event {
	t.Helper()
	_, tx, drafts := outbox.AddArgsForCall(n)
	require.NotNil(t, tx)
	require.Len(t, drafts, 1)
	require.Equal(t, customersevents.Topic, drafts[0].Topic)
	message, ok := drafts[0].Message.(*customersevents.Event)
	require.True(t, ok)
	require.Equal(t, message.Customer.Id, drafts[0].Aggregate, "events about a customer are in order")
	return message
}

func requireEvent(t *testing.T, want, got *customersevents.Event) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

// inEvent is a customer as events have it.
func inEvent(c service.Customer) *customersevents.Customer {
	return &customersevents.Customer{
		Id: c.ID, Status: string(c.Status), Email: c.Email, Name: c.Name, Meta: c.Meta,
		Created: timestamppb.New(c.Created), Updated: timestamppb.New(c.Updated), Version: c.Version,
	}
}

func as(ctx context.Context, id string) context.Context {
	return auth.WithCaller(ctx, auth.Caller{Kind: auth.Admin, ID: id})
}

func TestEvents(t *testing.T) {
	publishing(t, func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, clock *clock) {
		n := service.NewCustomer{Email: "jane@example.com", Name: "Jane", Meta: map[string]string{"plan": "pilot"}}
		jane, err := c.Create(as(t.Context(), "signup-latest"), n)
		require.NoError(t, err)
		require.Equal(t, 1, outbox.AddCallCount())
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeCreated, Customer: inEvent(jane), CallerId: "signup-latest",
			Created: &customersevents.Created{},
		}, event(t, outbox, 0))
		_, err = c.Create(as(t.Context(), "signup-latest"), n)
		require.NoError(t, err)
		require.Equal(t, 1, outbox.AddCallCount(), "there was one already")

		clock.Turn(time.Hour)
		jane, err = c.Update(as(t.Context(), jane.ID), service.Change{ID: jane.ID, Name: new("Joan"), Meta: &map[string]string{"plan": "pilot"}})
		require.NoError(t, err)
		require.Equal(t, 2, outbox.AddCallCount())
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeUpdated, Customer: inEvent(jane), CallerId: jane.ID,
			Updated: &customersevents.Updated{Fields: []string{"name"}},
		}, event(t, outbox, 1))
		all := service.Change{
			ID: jane.ID, Version: 2, Name: new("J"), Meta: new(map[string]string), Email: new("j@example.com"), Status: new(service.Active),
		}
		for range 2 { // the answer was lost, and the call made again
			jane, err = c.Update(as(t.Context(), "admin"), all)
			require.NoError(t, err)
		}
		require.Equal(t, 3, outbox.AddCallCount())
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeUpdated, Customer: inEvent(jane), CallerId: "admin",
			Updated: &customersevents.Updated{Fields: []string{"name", "meta", "email", "status"}},
		}, event(t, outbox, 2))

		clock.Turn(time.Hour)
		for range 2 {
			require.NoError(t, c.Delete(t.Context(), service.Ref{Email: "J@example.com"}))
		}
		jane, err = c.Read(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)
		require.Equal(t, 4, outbox.AddCallCount())
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeDeleted, Customer: inEvent(jane), Deleted: &customersevents.Deleted{},
		}, event(t, outbox, 3))
	})
}

// What is refused has not happened.
func TestNoEventOfWhatIsRefused(t *testing.T) {
	publishing(t, func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, _ *clock) {
		jane, john := create(t, c, "jane@example.com", "Jane"), create(t, c, "john@example.com", "John")
		require.NoError(t, c.Delete(t.Context(), service.Ref{ID: john.ID}))
		require.Equal(t, 3, outbox.AddCallCount())
		for _, change := range []service.Change{
			{ID: jane.ID, Version: 7, Name: new("a")},
			{ID: jane.ID, Email: new("john@example.com")},
			{ID: jane.ID, Email: new("x")},
			{ID: john.ID, Name: new("a")},
			{ID: "0190f8b0-0000-7000-8000-000000000000", Name: new("a")},
		} {
			_, err := c.Update(t.Context(), change)
			require.Error(t, err)
		}
		_, err := c.Create(t.Context(), service.NewCustomer{Email: "john@example.com"})
		require.Equal(t, errors.KindConflict, errors.KindOf(err))
		_, err = c.Create(t.Context(), service.NewCustomer{Email: "x"})
		require.Error(t, err)
		require.Error(t, c.Delete(t.Context(), service.Ref{Email: "nobody@example.com"}))
		require.Equal(t, 3, outbox.AddCallCount())
	})
}

// What cannot be published does not happen.
func TestNothingHappensWithoutItsEvent(t *testing.T) {
	publishing(t, func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, _ *clock) {
		jane := create(t, c, "jane@example.com", "Jane")
		failure := stderrors.New("no outbox")
		outbox.AddReturns(failure)
		_, err := c.Create(t.Context(), service.NewCustomer{Email: "john@example.com"})
		require.ErrorIs(t, err, failure)
		_, err = c.Update(t.Context(), service.Change{ID: jane.ID, Name: new("Joan")})
		require.ErrorIs(t, err, failure)
		require.ErrorIs(t, c.Delete(t.Context(), service.Ref{ID: jane.ID}), failure)
		require.Equal(t, 4, outbox.AddCallCount())
		assert.Equal(t, []service.Customer{jane}, all(t, c))
	})
}

// Of many who change a customer at once, each change has its event, with a version of its own.
func TestEventsOfChangesAtOnce(t *testing.T) {
	const callers = 16
	publishing(t, func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, _ *clock) {
		jane := create(t, c, "jane@example.com", "Jane")
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				_, err := c.Update(context.Background(), service.Change{ID: jane.ID, Name: new(fmt.Sprint("Joan ", i))})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		versions := make(map[int64]bool)
		for i := range outbox.AddCallCount() {
			versions[event(t, outbox, i).Customer.Version] = true
		}
		require.Len(t, versions, callers+1)
	})
}

// What consumers read.
func TestEventInJSON(t *testing.T) {
	publishing(t, func(t *testing.T, c *service.Customers, outbox *fakes.FakeOutbox, _ *clock) {
		jane := create(t, c, "jane@example.com", "Jane")
		payload, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(event(t, outbox, 0))
		require.NoError(t, err)
		require.JSONEq(t, fmt.Sprintf(`{
			"type": "EventTypeCreated",
			"customer": {
				"id": %q, "status": "awaiting_verification", "email": "jane@example.com", "name": "Jane",
				"created": "2026-03-01T12:00:00.123456Z", "updated": "2026-03-01T12:00:00.123456Z", "version": "1"
			},
			"created": {}
		}`, jane.ID), string(payload))
	})
}
