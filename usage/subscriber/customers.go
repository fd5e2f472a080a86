package subscriber

import (
	"context"
	"errors"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
	"github.com/m3o/backend/usage/service"
)

// Customers keeps up with the tiers that customers are on. That a customer is new and that they have another tier comes from two
// services, in any order.
func Customers(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("usage: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, e *events.Event, m *customersevents.Event) error {
		switch m.Type {
		case customersevents.EventType_EventTypeCreated, customersevents.EventType_EventTypeSignup:
			return core.Enter(ctx, tx, m.GetCustomer().GetId())
		case customersevents.EventType_EventTypeSubscriptionChanged:
			return core.ChangeTier(ctx, tx, service.TierChange{
				CustomerID: m.GetCustomer().GetId(), Tier: m.GetSubscriptionChanged().GetTier(),
				MonthlyQuota: m.GetSubscriptionChanged().GetMonthlyQuota(), Time: e.Time, Sequence: e.Sequence,
			})
		default: // what a customer has called stays counted, whatever becomes of them
			return nil
		}
	}
	return events.Consumer{Topic: customersevents.Topic, Handle: events.Each(handle)}, nil
}
