package subscriber

import (
	"context"
	"errors"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Core is what the subscribers need of the core.
type Core interface {
	Welcome(ctx context.Context, id, email string, at time.Time) error
}

// Customers welcomes who has signed up. A mail cannot be taken back: when the transaction is undone, the same mail is sent
// again.
func Customers(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("signup: the core is missing")
	}
	handle := func(ctx context.Context, _ database.Querier, e *events.Event, m *customersevents.Event) error {
		if m.Type != customersevents.EventType_EventTypeSignup {
			return nil
		}
		return core.Welcome(ctx, e.ID.String(), m.GetCustomer().GetEmail(), e.Time)
	}
	return events.Consumer{Topic: customersevents.Topic, Handle: events.Each(handle)}, nil
}
