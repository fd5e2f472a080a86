package stream

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

// New makes the event of Micro's Publish: a message that is no []byte is written as JSON.
func New(topic string, message any, opts ...events.PublishOption) (*events.Event, error) {
	if topic == "" {
		return nil, events.ErrMissingTopic
	}
	var options events.PublishOptions
	for _, o := range opts {
		o(&options)
	}
	payload, ok := message.([]byte)
	if !ok {
		var err error
		if payload, err = json.Marshal(message); err != nil {
			return nil, events.ErrEncodingMessage
		}
	}
	return &events.Event{Topic: topic, Timestamp: options.Timestamp, Metadata: options.Metadata, Payload: payload}, nil
}

// Prepare makes sure that an event can be published, and gives it an id and a time if it has none: in its fields and in its
// metadata, where they win if both are given. The metadata it was given is not changed, but replaced.
func Prepare(e *events.Event) error {
	if err := ValidName("topic", e.Topic); err != nil {
		return err
	}
	for key, value := range e.Metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return errors.Invalid("metadata", "must be UTF-8")
		}
	}
	if Size(e) > MaxEvent {
		return errors.Invalid("payload", "must have at most %d bytes, with the metadata", MaxEvent)
	}
	id, err := idOf(e)
	if err != nil {
		return err
	}
	at, err := timeOf(e)
	if err != nil {
		return err
	}
	text := at.Format(time.RFC3339Nano)
	if e.Metadata[IDKey] != id || e.Metadata[TimeKey] != text {
		metadata := make(map[string]string, len(e.Metadata)+2)
		maps.Copy(metadata, e.Metadata)
		metadata[IDKey], metadata[TimeKey] = id, text
		e.Metadata = metadata
	}
	e.ID, e.Timestamp = id, at
	return nil
}

// PrepareAll prepares the events of a batch and makes sure that they are not too many. Errors name the event.
func PrepareAll(batch []*events.Event) error {
	if len(batch) > MaxBatch {
		return errors.Invalid("events", "must be at most %d", MaxBatch)
	}
	size := 0
	for i, e := range batch {
		if e == nil {
			return errors.Invalid(fmt.Sprintf("events[%d]", i), "missing")
		}
		if err := Prepare(e); err != nil {
			return errors.Within(fmt.Sprintf("events[%d]", i), err)
		}
		size += Size(e)
	}
	if size > MaxBatchBytes && len(batch) > 1 {
		return errors.Invalid("events", "must have at most %d bytes together", MaxBatchBytes)
	}
	return nil
}

// Size is how many bytes an event has, as its limits count them: its id and its time are free.
func Size(e *events.Event) int {
	size := len(e.Payload)
	for key, value := range e.Metadata {
		if key != IDKey && key != TimeKey {
			size += len(key) + len(value)
		}
	}
	return size
}

// ValidName makes sure that a field has the name of a topic or a group.
func ValidName(field, name string) error {
	if name == "" {
		return errors.Invalid(field, "expected one")
	}
	if len(name) > MaxTopic {
		return errors.Invalid(field, "must have at most %d bytes", MaxTopic)
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return errors.Invalid(field, "must be text that can be printed")
		}
	}
	return nil
}

func idOf(e *events.Event) (string, error) {
	given := e.ID
	if inside := e.Metadata[IDKey]; inside != "" {
		given = inside
	}
	if given == "" {
		id, err := uuid.NewV7()
		return id.String(), err
	}
	id, err := uuid.Parse(given)
	if err != nil || len(given) != len(id.String()) {
		return "", errors.Invalid("metadata."+IDKey, "expected a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057")
	}
	return id.String(), nil
}

// Times are kept as nanoseconds in 64 bits.
var earliest, latest = time.Unix(0, -1<<63), time.Unix(0, 1<<63-1)

func timeOf(e *events.Event) (time.Time, error) {
	at := e.Timestamp
	if text := e.Metadata[TimeKey]; text != "" {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return at, errors.Invalid("metadata."+TimeKey, "expected a time, such as 2006-01-02T15:04:05.999999999Z")
		}
	}
	if at.IsZero() {
		at = time.Now()
	}
	if at.Before(earliest) || at.After(latest) {
		return at, errors.Invalid("metadata."+TimeKey, "must be between the years 1678 and 2261")
	}
	return time.Unix(0, at.UnixNano()).UTC(), nil
}

// ToProto is a prepared event as it is sent and kept.
func ToProto(e *events.Event) *pb.Event {
	m := &pb.Event{Id: e.ID, Topic: e.Topic, Time: e.Timestamp.UnixNano(), Payload: e.Payload}
	if len(e.Metadata) > 2 {
		m.Metadata = maps.Clone(e.Metadata)
		delete(m.Metadata, IDKey)
		delete(m.Metadata, TimeKey)
	}
	return m
}

// FromProto is the event that was sent or kept; it takes over what is in the message.
func FromProto(m *pb.Event) *events.Event {
	e := &events.Event{ID: m.GetId(), Topic: m.GetTopic(), Metadata: m.GetMetadata(), Payload: m.GetPayload()}
	if e.Metadata == nil {
		e.Metadata = make(map[string]string, 2)
	}
	if m.GetId() != "" && e.Metadata[IDKey] == "" {
		e.Metadata[IDKey] = m.GetId()
	}
	if m.GetTime() != 0 {
		e.Timestamp = time.Unix(0, m.GetTime()).UTC()
		if e.Metadata[TimeKey] == "" {
			e.Metadata[TimeKey] = e.Timestamp.Format(time.RFC3339Nano)
		}
	}
	return e
}
