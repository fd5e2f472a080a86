package subscriber

import (
	"context"
	"errors"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Core is what the subscribers need of the core.
type Core interface {
	Forward(ctx context.Context, batch []*events.Event) error
}

// forward forwards a topic, whatever types its events have: nothing of them is read that a newer one might have otherwise.
func forward(topic string, core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("mixpanel: the core is missing")
	}
	handle := func(ctx context.Context, _ database.Querier, batch []*events.Event) error {
		return core.Forward(ctx, batch)
	}
	return events.Consumer{Topic: topic, Handle: handle}, nil
}
