// Package subscriber receives what other services publish, and is as thin as a handler. What topics these are is configured.
package subscriber

import (
	"context"
	"errors"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Core is what the subscribers need of the core.
type Core interface {
	Forward(ctx context.Context, tx database.Querier, topic string, batch []*events.Event) error
}

// attempts is how often an event is tried while Mixpanel is away, the last of them every ten minutes: for two weeks. What it
// refuses is a dead letter at once.
const attempts = 2000

// Topic forwards a topic, whatever types its events have: nothing of them is decoded that a newer one might have otherwise.
func Topic(topic string, core Core) (events.Consumer, error) {
	if core == nil {
		return events.Consumer{}, errors.New("mixpanel: the core is missing")
	}
	handle := func(ctx context.Context, tx database.Querier, batch []*events.Event) error {
		return core.Forward(ctx, tx, topic, batch)
	}
	return events.Consumer{Topic: topic, Handle: handle, Attempts: attempts}, nil
}
