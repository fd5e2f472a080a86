package subscriber

import (
	"context"
	"errors"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	erasuresevents "github.com/m3o/backend/pkg/events/proto/erasures"
)

// Core is what the subscribers need of the core.
type Core interface {
	NoteErased(ctx context.Context, tx database.Querier, customerID, service string) error
}

// Erasures notes which services have erased a customer.
func Erasures(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("customers: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, _ *events.Event, m *erasuresevents.Event) error {
		if m.Type != erasuresevents.EventType_EventTypeErased {
			return nil
		}
		return core.NoteErased(ctx, tx, m.CustomerId, m.Service)
	}
	return events.Consumer{Topic: erasuresevents.Topic, Handle: events.Each(handle)}, nil
}
