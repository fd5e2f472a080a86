package subscriber

import (
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Customers forwards what happens to customers.
func Customers(core Core) (events.Consumer, error) { return forward(customersevents.Topic, core) }
