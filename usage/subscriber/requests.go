package subscriber

import (
	"context"
	"errors"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
	"github.com/m3o/backend/usage/service"
)

// Core is what the subscribers need of the core.
type Core interface {
	Count(ctx context.Context, tx database.Querier, requests []service.Request) error
	Enter(ctx context.Context, tx database.Querier, customerID string) error
	ChangeTier(ctx context.Context, tx database.Querier, change service.TierChange) error
}

// Requests counts the requests of the topic requests, all those of a batch of events at once.
func Requests(core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("usage: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, batch []*events.Event, messages []*requestsevents.Event) error {
		n := 0
		for _, m := range messages {
			n += len(m.Requests)
		}
		requests := make([]service.Request, 0, n)
		for i, m := range messages {
			// Of other types there may be requests that were not made.
			if m.Type != requestsevents.EventType_EventTypeRequests {
				continue
			}
			for _, r := range m.Requests {
				at := batch[i].Time
				if r.Time != nil {
					if r.Time.CheckValid() != nil {
						return kinds.Invalid("requests.time", "must be in the years 1 to 9999")
					}
					at = r.Time.AsTime()
				}
				requests = append(requests, service.Request{
					ID: r.Id, CustomerID: r.CustomerId, APIKeyID: r.ApiKeyId, API: r.ApiName, Endpoint: r.EndpointName, URL: r.Url,
					Price: r.Price, Status: r.Status, Units: r.Units, Time: at,
				})
			}
		}
		return core.Count(ctx, tx, requests)
	}
	return events.Consumer{Topic: requestsevents.Topic, Handle: events.Batch(handle)}, nil
}
