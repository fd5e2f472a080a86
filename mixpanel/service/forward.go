package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/events"
)

// unknownType is what an event is called that says of itself no type, because it was published without pkg/events.
const unknownType = "EventTypeUnknown"

// Forward logs what would be forwarded: the name of each event, its id and its time, and nothing of what it says, which may be
// personal. The name is made of the event's own metadata, so that an event of a type that is newer than this binary has the
// right one. An event that is forwarded twice has the same id.
func (c *Mixpanel) Forward(ctx context.Context, batch []*events.Event) error {
	for _, e := range batch {
		c.log.InfoContext(ctx, "would forward", "event", nameOf(e), "id", e.ID.String(), "time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// nameOf is what an event is called at Mixpanel, such as customers_EventTypeCreated.
func nameOf(e *events.Event) string {
	if e.Type == "" {
		return e.Topic + "_" + unknownType
	}
	return e.Topic + "_" + e.Type
}
