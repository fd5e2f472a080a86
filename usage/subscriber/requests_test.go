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

const jane = "0190aaaa-0000-7000-8000-00000000000a"

// published is when the events of these tests were published.
var published = time.Date(2030, 6, 1, 0, 0, 1, 0, time.UTC)

// event is an event with a payload.
func event(payload string) *events.Event {
	return &events.Event{
		ID: uuid.Must(uuid.NewV7()), Topic: "requests", Type: "EventTypeRequests", Time: published, Payload: []byte(payload),
	}
}

// one is the payload of one request, with more fields of it.
func one(id, more string) string {
	return fmt.Sprintf(`{"type": "EventTypeRequests", "batch_id": "a", "requests": [
		{"id": %q, "customer_id": %q, "api_name": "weather", "endpoint_name": "Now"%s}]}`, id, jane, more)
}

func TestRequestsNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Requests(nil)
	require.EqualError(t, err, "usage: the core is missing")
}

func TestRequests(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	consumer, err := subscriber.Requests(core)
	require.NoError(t, err)
	require.Equal(t, "requests", consumer.Topic)
	require.NoError(t, consumer.Handle(t.Context(), nil, []*events.Event{
		event(one("1", `, "api_key_id": "key", "url": "/v1/weather/Now", "price": "100", "status": 200, "units": 2,
			"time": "2030-05-31T23:59:59.123456Z", "new": {"field": 1}`)),
		event(one("2", "")),
		event(`{"type": "EventTypeLater", "requests": [{"id": "3"}]}`),
		event(`{"requests": [{"id": "4"}]}`),
		event(`{"type": "EventTypeRequests"}`),
	}))
	require.Equal(t, 1, core.CountCallCount())
	_, _, got := core.CountArgsForCall(0)
	require.Equal(t, []service.Request{
		{
			ID: "1", CustomerID: jane, APIKeyID: "key", API: "weather", Endpoint: "Now", URL: "/v1/weather/Now", Price: 100,
			Status: 200, Units: 2, Time: time.Date(2030, 5, 31, 23, 59, 59, 123_456_000, time.UTC),
		},
		{ID: "2", CustomerID: jane, API: "weather", Endpoint: "Now", Time: published},
	}, got)
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	consumer, err := subscriber.Requests(core)
	require.NoError(t, err)
	for _, payload := range []string{`no JSON`, `{"requests": 5}`, one("1", `, "time": "yesterday"`)} {
		err := consumer.Handle(t.Context(), nil, []*events.Event{event(payload)})
		require.True(t, errors.Permanent(err), "%s: %v", payload, err)
	}
	require.Zero(t, core.CountCallCount())
	failure := stderrors.New("the database is away")
	core.CountReturns(failure)
	require.ErrorIs(t, consumer.Handle(t.Context(), nil, []*events.Event{event(one("1", ""))}), failure)
}

// With the real core, on each database: an event that comes twice, and a request in two events.
func TestRequestsOfTheRealCore(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "usage", migrations.FS, func(t *testing.T, db *database.DB) {
		core, err := service.New(service.Config{DB: db, Outbox: &outbox.FakeOutbox{}, Settings: service.DefaultSettings(), Clock: func() time.Time { return published }})
		require.NoError(t, err)
		consumer, err := subscriber.Requests(core)
		require.NoError(t, err)
		first, second := uuid.NewString(), uuid.NewString()
		a, b := event(one(first, "")), event(one(second, ""))
		again := event(one(first, `, "units": 7`))
		for _, batch := range [][]*events.Event{{a}, {a, b, again}, {b}} {
			require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				return consumer.Handle(ctx, tx, batch)
			}))
		}
		total, err := core.MonthlyTotal(t.Context(), jane, true)
		require.NoError(t, err)
		require.Equal(t, service.Total{Requests: 2, Endpoints: map[string]int64{"weather/Now": 2}}, total)

		err = db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return consumer.Handle(ctx, tx, []*events.Event{event(one("no UUID", ""))})
		})
		require.True(t, errors.Permanent(err), "%v", err)
	})
}
