package service

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
)

const (
	// unknownType is what an event is called that says of itself no type, because it was published without pkg/events.
	unknownType = "EventTypeUnknown"
	// requestsTopic and requestsType are those of the events that have many requests, each of which is an event at Mixpanel.
	requestsTopic = "requests"
	requestsType  = "EventTypeRequests"
)

// record is an event as Mixpanel takes it.
type record struct {
	// insertID is the same however often it is sent.
	insertID string
	// of is the place of the event that it was made of among those that were handled together.
	of   int
	text []byte
}

// nameOf is what an event is called at Mixpanel, such as customers_EventTypeCreated.
func nameOf(e *events.Event) string {
	name := e.Topic + "_" + e.Type
	if e.Type == "" {
		name = e.Topic + "_" + unknownType
	}
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}

// records are what is sent of an event. Its payload is read as JSON of any shape, so that an event of a type that is newer
// than this binary is forwarded as well. One that is no JSON object has a name and a time.
func records(e *events.Event, of int) ([]record, error) {
	payload, isObject := object(e.Payload)
	if e.Topic == requestsTopic && e.Type == requestsType {
		if !isObject {
			return nil, errors.Invalid("payload", "must be a JSON object")
		}
		return requests(e, of, payload)
	}
	properties := flatten(payload)
	r, err := encode(nameOf(e), e.ID.String(), customerOf(payload), e.Time, properties, of)
	if err != nil {
		return nil, err
	}
	return []record{r}, nil
}

// requests makes an event of each request. Its id is the request's own, so that one that was published twice counts once.
func requests(e *events.Event, of int, payload map[string]any) ([]record, error) {
	list, _ := payload["requests"].([]any)
	all := make([]record, 0, len(list))
	for _, element := range list {
		request, _ := element.(map[string]any)
		id, _ := request["id"].(string)
		if !isUUID(id) {
			return nil, errors.Invalid("requests.id", "must be a UUID")
		}
		at := e.Time
		if text, ok := request["time"].(string); ok {
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return nil, errors.Invalid("requests.time", "must be a time as RFC 3339 has it")
			}
			at = t
		}
		properties := flatten(request)
		delete(properties, "id")
		// What is 0 is not there, and could not be told from what is not known.
		for _, number := range []string{"price", "status", "units"} {
			if _, ok := properties[number]; !ok {
				properties[number] = 0
			}
		}
		r, err := encode(nameOf(e), id, customerOf(request), at, properties, of)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func object(payload []byte) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var o map[string]any
	if d.Decode(&o) != nil || o == nil || d.More() {
		return nil, false
	}
	return o, true
}

// customerOf is the id of the customer that an event is about: of its customer, or what it calls customer_id, itself or in the
// field that its type is described in. Empty when it is about none, which Mixpanel takes for nobody in particular.
func customerOf(payload map[string]any) string {
	if id := named(payload); id != "" {
		return id
	}
	found := ""
	for key, value := range payload {
		inner, ok := value.(map[string]any)
		if !ok || !maySend(key) {
			continue
		}
		id := named(inner)
		if found != "" && id != "" && id != found {
			return "" // it is about more than one
		}
		if id != "" {
			found = id
		}
	}
	return found
}

func named(o map[string]any) string {
	if customer, ok := o["customer"].(map[string]any); ok {
		if id, ok := customer["id"].(string); ok && isUUID(id) {
			return id
		}
	}
	if id, ok := o["customer_id"].(string); ok && isUUID(id) {
		return id
	}
	return ""
}

func encode(name, insertID, customerID string, at time.Time, properties map[string]any, of int) (record, error) {
	all := maps.Clone(properties)
	all["$insert_id"], all["distinct_id"], all["time"] = insertID, customerID, at.UnixMilli()
	text, err := json.Marshal(struct {
		Event      string         `json:"event"`
		Properties map[string]any `json:"properties"`
	}{name, all})
	if err != nil {
		return record{}, errors.Invalid("payload", "cannot be encoded again").WithCause(err)
	}
	return record{insertID: insertID, of: of, text: text}, nil
}
