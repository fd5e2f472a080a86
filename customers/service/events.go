package service

import (
	"context"
	"maps"
	"time"

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
func (b *book) publish(ctx context.Context, tx database.Querier, after Customer, e *customersevents.Event) error {
	e.Customer = &customersevents.Customer{
		Id: after.ID, Status: string(after.Status), Email: after.Email, Name: after.Name, Meta: after.Meta,
		Created: timestamppb.New(after.Created), Updated: timestamppb.New(after.Updated), Version: after.Version,
	}
	e.CallerId = auth.CallerFrom(ctx).ID
	return b.outbox.Add(ctx, tx, events.Draft{Topic: customersevents.Topic, Message: e, Aggregate: after.ID})
}

func created() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeCreated, Created: &customersevents.Created{}}
}

func updated(fields []string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeUpdated, Updated: &customersevents.Updated{Fields: fields}}
}

func deleted(string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeDeleted, Deleted: &customersevents.Deleted{}}
}

func undeleted(string) *customersevents.Event { return updated([]string{"status"}) }

func verified(string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeVerified, Verified: &customersevents.Verified{}}
}

func signup(string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeSignup, Signup: &customersevents.Signup{}}
}

func banned(reason string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeBanned, Banned: &customersevents.Banned{Reason: reason}}
}

func unbanned(string) *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeUnbanned, Unbanned: &customersevents.Unbanned{}}
}

func login() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeLogin, Login: &customersevents.Login{}}
}

func tokenRefresh() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeTokenRefresh, TokenRefresh: &customersevents.TokenRefresh{}}
}

func logout() *customersevents.Event {
	return &customersevents.Event{Type: customersevents.EventType_EventTypeLogout, Logout: &customersevents.Logout{}}
}

func generateKey(k Key) *customersevents.Event {
	e := &customersevents.GenerateKey{ApiKeyId: k.ID, Scopes: k.Scopes}
	if !k.Expires.IsZero() {
		e.ExpiresAt = timestamppb.New(k.Expires)
	}
	return &customersevents.Event{Type: customersevents.EventType_EventTypeGenerateKey, GenerateKey: e}
}

// rotateKey is of a key in the place of another, which is good until a time.
func rotateKey(k Key, replaces string, until time.Time) *customersevents.Event {
	e := generateKey(k)
	e.GenerateKey.Replaces, e.GenerateKey.ReplacedUntil = replaces, timestamppb.New(until)
	return e
}

func deleteKey(id string) *customersevents.Event {
	return &customersevents.Event{
		Type: customersevents.EventType_EventTypeDeleteKey, DeleteKey: &customersevents.DeleteKey{ApiKeyId: id},
	}
}

func blockKey(id, message string) *customersevents.Event {
	return &customersevents.Event{
		Type:     customersevents.EventType_EventTypeBlockKey,
		BlockKey: &customersevents.BlockKey{ApiKeyId: id, Message: message},
	}
}

func unblockKey(id, _ string) *customersevents.Event {
	return &customersevents.Event{
		Type: customersevents.EventType_EventTypeUnblockKey, UnblockKey: &customersevents.UnblockKey{ApiKeyId: id},
	}
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
