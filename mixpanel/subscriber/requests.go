package subscriber

import (
	"github.com/m3o/backend/pkg/events"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
)

// Requests forwards what customers have called.
func Requests(core Core) (events.Consumer, error) { return forward(requestsevents.Topic, core) }
