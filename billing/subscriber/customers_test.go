package subscriber_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/m3o/backend/billing/subscriber"
	"github.com/m3o/backend/billing/subscriber/fakes"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

const jane = "01900000-0000-7000-8000-000000000001"

func TestCustomers(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Customers(nil)
	require.EqualError(t, err, "billing: the core is missing")

	updated := func(status string, fields ...string) *customersevents.Event {
		return &customersevents.Event{
			Type: customersevents.EventType_EventTypeUpdated, Customer: &customersevents.Customer{Id: jane, Status: status},
			Updated: &customersevents.Updated{Fields: fields},
		}
	}
	of := func(kind customersevents.EventType) *customersevents.Event {
		return &customersevents.Event{Type: kind, Customer: &customersevents.Customer{Id: jane}}
	}
	unbanned := func(status string) *customersevents.Event {
		return &customersevents.Event{
			Type: customersevents.EventType_EventTypeUnbanned, Customer: &customersevents.Customer{Id: jane, Status: status},
			Unbanned: &customersevents.Unbanned{},
		}
	}
	for name, tc := range map[string]struct {
		event               *customersevents.Event
		open, close, reopen int
	}{
		"created":             {of(customersevents.EventType_EventTypeCreated), 1, 0, 0},
		"deleted":             {of(customersevents.EventType_EventTypeDeleted), 0, 1, 0},
		"another name":        {updated("active", "name"), 0, 0, 0},
		"back":                {updated("active", "name", "status"), 0, 0, 1},
		"inactive by update":  {updated("inactive", "status"), 0, 0, 0},
		"unbanned":            {unbanned("active"), 0, 0, 1},
		"unbanned, deleted":   {unbanned("inactive"), 0, 1, 0},
		"our own":             {of(customersevents.EventType_EventTypeSubscriptionChanged), 0, 0, 0},
		"of a type not known": {of(customersevents.EventType(999)), 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &fakes.FakeCore{}
			consumer, err := subscriber.Customers(core)
			require.NoError(t, err)
			require.Equal(t, customersevents.Topic, consumer.Topic)
			payload, err := protojson.Marshal(tc.event)
			require.NoError(t, err)
			require.NoError(t, consumer.Handle(t.Context(), nil, []*events.Event{{ID: uuid.New(), Payload: payload}}))
			require.Equal(t, []int{tc.open, tc.close, tc.reopen}, []int{core.OpenCallCount(), core.CloseCallCount(), core.ReopenCallCount()})
			for i := range tc.open {
				_, _, id := core.OpenArgsForCall(i)
				require.Equal(t, jane, id)
			}
			failure := errors.New("the database is away")
			core.OpenReturns(failure)
			core.CloseReturns(failure)
			core.ReopenReturns(failure)
			err = consumer.Handle(t.Context(), nil, []*events.Event{{ID: uuid.New(), Payload: payload}})
			require.Equal(t, tc.open+tc.close+tc.reopen > 0, errors.Is(err, failure))
		})
	}
}
