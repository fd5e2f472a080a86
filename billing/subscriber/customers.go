package subscriber

import (
	"context"
	"errors"
	"slices"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Core is what the subscribers need of the core.
type Core interface {
	Open(ctx context.Context, tx database.Querier, customerID string) error
	Close(ctx context.Context, tx database.Querier, customerID string) error
	Reopen(ctx context.Context, tx database.Querier, customerID string) error
}

// inactive is the status of a customer who is deleted.
const inactive = "inactive"

// Customers opens an account for whoever is new, and sees to it that who is deleted pays no more. None of it calls anybody:
// that is left to what runs by the clock.
func Customers(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("billing: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, _ *events.Event, m *customersevents.Event) error {
		switch m.Type {
		case customersevents.EventType_EventTypeCreated:
			return core.Open(ctx, tx, m.Customer.GetId())
		case customersevents.EventType_EventTypeDeleted:
			return core.Close(ctx, tx, m.Customer.GetId())
		case customersevents.EventType_EventTypeUpdated:
			if slices.Contains(m.Updated.GetFields(), "status") && m.Customer.GetStatus() != inactive {
				return core.Reopen(ctx, tx, m.Customer.GetId())
			}
		case customersevents.EventType_EventTypeUnbanned:
			// They get back what they were, and may have been deleted.
			if m.Customer.GetStatus() == inactive {
				return core.Close(ctx, tx, m.Customer.GetId())
			}
			return core.Reopen(ctx, tx, m.Customer.GetId())
		}
		return nil
	}
	return events.Consumer{Topic: customersevents.Topic, Handle: events.Each(handle)}, nil
}
