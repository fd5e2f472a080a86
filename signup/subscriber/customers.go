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
	Welcome(ctx context.Context, tx database.Querier, id, email string, at time.Time) error
}

// Customers has those welcomed who have signed up.
func Customers(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("signup: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, e *events.Event, m *customersevents.Event) error {
		if m.Type != customersevents.EventType_EventTypeSignup {
			return nil
		}
		return core.Welcome(ctx, tx, e.ID.String(), m.GetCustomer().GetEmail(), e.Time)
	}
	return events.Consumer{Topic: customersevents.Topic, Handle: events.Each(handle)}, nil
}
