package service

import (
	"context"
	"maps"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// Outbox is where events are put in the transaction of what they are about. The service's is an events.Outbox.
type Outbox interface {
	Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error
}

// publish adds an event about a customer, as they are after it. It fills in the fields that every event has.
func (c *Customers) publish(ctx context.Context, tx database.Querier, after Customer, e *customersevents.Event) error {
	e.Customer = &customersevents.Customer{
		Id: after.ID, Status: string(after.Status), Email: after.Email, Name: after.Name, Meta: after.Meta,
		Created: timestamppb.New(after.Created), Updated: timestamppb.New(after.Updated), Version: after.Version,
	}
	e.CallerId = auth.CallerFrom(ctx).ID
	return c.outbox.Add(ctx, tx, events.Draft{Topic: customersevents.Topic, Message: e, Aggregate: after.ID})
}

func created() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeCreated, Created: &customersevents.Created{}}
}

func updated(fields []string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeUpdated, Updated: &customersevents.Updated{Fields: fields}}
}

func deleted() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeDeleted, Deleted: &customersevents.Deleted{}}
}

// changed are the names of the fields that a change may be about and in which two customers differ.
func changed(before, after Customer) []string {
	var fields []string
	if before.Name != after.Name {
		fields = append(fields, "name")
	}
	if !maps.Equal(before.Meta, after.Meta) {
		fields = append(fields, "meta")
	}
	if before.Email != after.Email {
		fields = append(fields, "email")
	}
	if before.Status != after.Status {
		fields = append(fields, "status")
	}
	return fields
}
