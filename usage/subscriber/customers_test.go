package subscriber_test

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
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/usage/service"
	outbox "github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
	"github.com/m3o/backend/usage/subscriber"
	"github.com/m3o/backend/usage/subscriber/fakes"
)

// about is an event about jane, with more fields of it.
func about(kind, more string) *events.Event {
	e := event(fmt.Sprintf(`{"type": %q, "customer": {"id": %q, "email": "jane@example.com"}%s}`, kind, jane, more))
	e.Topic, e.Type = "customers", kind
	return e
}

func subscription(tier string, quota int) *events.Event {
	return about("EventTypeSubscriptionChanged", fmt.Sprintf(
		`, "subscription_changed": {"previous_tier": "free", "tier": %q, "monthly_quota": "%d", "rate_limit": "100"}`, tier, quota))
}

func TestCustomersNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Customers(nil)
	require.EqualError(t, err, "usage: the core is missing")
}

func TestCustomers(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	consumer, err := subscriber.Customers(core)
	require.NoError(t, err)
	require.Equal(t, "customers", consumer.Topic)
	changed := subscription("pro", 1000)
	changed.Aggregate, changed.Sequence = "billing/"+jane, 7
	require.NoError(t, consumer.Handle(t.Context(), nil, []*events.Event{
		about("EventTypeCreated", `, "created": {}`), about("EventTypeSignup", ""), about("EventTypeDeleted", ""), about("EventTypeLogin", ""),
		about("EventTypeOfTheFuture", `, "new": 5`), changed,
	}))
	require.Equal(t, 2, core.EnterCallCount())
	_, _, id := core.EnterArgsForCall(1)
	require.Equal(t, jane, id)
	require.Equal(t, 1, core.ChangeTierCallCount())
	_, _, change := core.ChangeTierArgsForCall(0)
	require.Equal(t, service.TierChange{CustomerID: jane, Tier: "pro", MonthlyQuota: 1000, Time: published, Sequence: 7}, change)

	failure := stderrors.New("the database is away")
	core.EnterReturns(failure)
	require.ErrorIs(t, consumer.Handle(t.Context(), nil, []*events.Event{about("EventTypeCreated", "")}), failure)
	core.ChangeTierReturns(failure)
	require.ErrorIs(t, consumer.Handle(t.Context(), nil, []*events.Event{subscription("pro", 1)}), failure)
	err = consumer.Handle(t.Context(), nil, []*events.Event{event(`{"customer": 5}`)})
	require.True(t, errors.Permanent(err), "%v", err)
}

// With the real core, on each database: whichever comes first, the subscription holds; an event that says too little is nobody's.
func TestCustomersOfTheRealCore(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "usage", migrations.FS, func(t *testing.T, db *database.DB) {
		core, err := service.New(service.Config{
			DB: db, Outbox: &outbox.FakeOutbox{}, Settings: service.DefaultSettings(), Clock: func() time.Time { return published },
		})
		require.NoError(t, err)
		consumer, err := subscriber.Customers(core)
		require.NoError(t, err)
		handle := func(batch ...*events.Event) error {
			return db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return consumer.Handle(ctx, tx, batch) })
		}
		requireAllowed := func(tier string, quota int64) {
			t.Helper()
			month, err := core.Monthly(t.Context(), jane, nil)
			require.NoError(t, err)
			require.Equal(t, service.Allowed{Tier: tier, Quota: quota}, month.Allowed)
		}
		require.NoError(t, handle(subscription("pro", 5), about("EventTypeCreated", "")))
		requireAllowed("pro", 1_000_000)
		require.NoError(t, handle(about("EventTypeSignup", ""), subscription("enterprise", 123)))
		requireAllowed("enterprise", 123)
		require.NoError(t, handle(about("EventTypeDeleted", "")))
		requireAllowed("enterprise", 123)
		require.NoError(t, handle(subscription("free", 1)))
		requireAllowed("free", 10_000)

		nobody := event(`{"type": "EventTypeCreated"}`)
		nobody.ID = uuid.New()
		for _, e := range []*events.Event{nobody, about("EventTypeSubscriptionChanged", ""), subscription("pro", -1)} {
			err := handle(e)
			require.True(t, errors.Permanent(err), "%v", err)
		}
		requireAllowed("free", 10_000)
	})
}
