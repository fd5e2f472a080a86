package events

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/service/telemetry"
)

// Keys of an event's metadata, beside stream.IDKey and stream.TimeKey.
const (
	typeKey      = "type"
	causeKey     = "cause"
	aggregateKey = "aggregate"
	sequenceKey  = "sequence"
)

// Event is something that has happened.
type Event struct {
	// ID is the same however often the event is delivered, and nobody else's.
	ID    uuid.UUID
	Topic string
	// Type is the name of the value of the topic's EventType, as "EventTypeCreated", also when this binary does not know
	// it. Empty when it was published without this package.
	Type string
	// Time is when it happened.
	Time time.Time
	// Cause is the id of the trace of the call that caused it, through whatever other events. Empty when there was none.
	Cause string
	// Aggregate is what it is about, Sequence which of the topic's events about that it is, from 1. Empty and 0 when the
	// order does not matter.
	Aggregate string
	Sequence  int64
	// Payload is the topic's Event as protojson.
	Payload []byte
}

const (
	// maxName is how many bytes the type and the cause of an event may have, maxAggregate the id of what it is about.
	maxName      = 200
	maxAggregate = 200
	// maxSequence is far more than anything can happen to one aggregate.
	maxSequence = 1 << 53
)

// clean makes a text of others one that every database takes: valid, without NUL, and with so many bytes at most.
func clean(text string, most int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "")
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// published is the event as the stream has it.
func (e *Event) published() *events.Event {
	md := map[string]string{
		stream.IDKey:   e.ID.String(),
		stream.TimeKey: e.Time.UTC().Format(time.RFC3339Nano),
		typeKey:        e.Type,
	}
	if e.Cause != "" {
		md[causeKey] = e.Cause
	}
	if e.Aggregate != "" {
		md[aggregateKey], md[sequenceKey] = e.Aggregate, strconv.FormatInt(e.Sequence, 10)
	}
	return &events.Event{ID: md[stream.IDKey], Topic: e.Topic, Timestamp: e.Time, Metadata: md, Payload: e.Payload}
}

// received reads an event of the stream. Anybody may publish with Micro alone, so that nothing is taken for granted but the
// id, which the stream has made sure of.
func received(from *events.Event) (*Event, error) {
	id, err := uuid.Parse(from.ID)
	if err != nil {
		return nil, fmt.Errorf("an event of topic %s without a UUID", from.Topic)
	}
	e := &Event{
		ID: id, Topic: from.Topic, Type: clean(from.Metadata[typeKey], maxName), Time: from.Timestamp,
		Cause: clean(from.Metadata[causeKey], maxName), Aggregate: from.Metadata[aggregateKey], Payload: from.Payload,
	}
	if e.Aggregate != "" {
		e.Sequence, err = strconv.ParseInt(from.Metadata[sequenceKey], 10, 64)
		if err != nil || e.Sequence < 1 || e.Sequence > maxSequence || e.Aggregate != clean(e.Aggregate, maxAggregate) {
			e.Aggregate, e.Sequence = "", 0 // without an order that can be kept
		}
	}
	return e, nil
}

var (
	encoding = protojson.MarshalOptions{UseProtoNames: true}
	// A consumer that is older than an event reads what it knows of it.
	decoding = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// typeOf returns the name of the value of a message's field type.
func typeOf(m proto.Message) (string, error) {
	r := m.ProtoReflect()
	field := r.Descriptor().Fields().ByName("type")
	if field == nil || field.Enum() == nil {
		return "", fmt.Errorf("message %s has no field type", r.Descriptor().FullName())
	}
	value := field.Enum().Values().ByNumber(r.Get(field).Enum())
	if value == nil || value.Number() == 0 {
		return "", fmt.Errorf("message %s: its field type is not set", r.Descriptor().FullName())
	}
	return string(value.Name()), nil
}

// Handler handles events of a topic in their order, at most stream.MaxBatch at once, in a transaction in which it is
// recorded that they were handled. What it returns an error for is undone, and tried again: with fewer events, until it
// is known whose fault it is; and then as errors.Permanent says, later or not at all. As a transaction may be run again, it
// must not do anything outside of tx that must not be done twice.
type Handler func(ctx context.Context, tx database.Querier, batch []*Event) error

// Batch makes a handler of a function that takes a topic's messages, as many as there are at once: messages[i] is that of
// batch[i].
func Batch[M proto.Message](f func(ctx context.Context, tx database.Querier, batch []*Event, messages []M) error) Handler {
	return func(ctx context.Context, tx database.Querier, batch []*Event) error {
		messages := make([]M, len(batch))
		for i, e := range batch {
			var err error
			if messages[i], err = decode[M](e); err != nil {
				return err
			}
		}
		return f(ctx, tx, batch, messages)
	}
}

// Each makes a handler of a function that takes one of a topic's messages at a time. Events that it adds to the outbox
// with ctx have the same cause.
func Each[M proto.Message](f func(ctx context.Context, tx database.Querier, e *Event, message M) error) Handler {
	return func(ctx context.Context, tx database.Querier, batch []*Event) error {
		for _, e := range batch {
			m, err := decode[M](e)
			if err == nil {
				err = f(withCause(ctx, e.Cause), tx, e, m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func decode[M proto.Message](e *Event) (M, error) {
	var none M
	m, _ := none.ProtoReflect().New().Interface().(M)
	if err := decoding.Unmarshal(e.Payload, m); err != nil {
		// Protobuf's error repeats what it could not read.
		return none, errors.Invalid("payload", "not the message %s that the topic has", none.ProtoReflect().Descriptor().FullName())
	}
	return m, nil
}

type causeOf struct{}

func withCause(ctx context.Context, cause string) context.Context {
	return context.WithValue(ctx, causeOf{}, cause)
}

// causeIn is the cause of what is done in a context.
func causeIn(ctx context.Context) string {
	if cause, ok := ctx.Value(causeOf{}).(string); ok {
		return cause
	}
	return telemetry.TraceID(ctx)
}
