package jetstream

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/micro/micro/v3/service/events"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/events/stream"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

// Read implements events.Store: it returns what the stream still has of a topic, the oldest first, at most MaxBatch and
// MaxBatchBytes of it, and 250 events unless it is told how many. The offset is counted from the oldest that there is.
func (e *Engine) Read(name string, opts ...events.ReadOption) ([]*events.Event, error) {
	if name == "" {
		return nil, events.ErrMissingTopic
	}
	if err := stream.ValidName("topic", name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	defer cancel()
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	t := e.find(name)
	if t == nil {
		return nil, nil
	}
	limit, offset := stream.ReadOptions(opts...)
	found, err := t.read(ctx, limit, offset)
	if err != nil {
		return nil, e.failedRequest("read events", err)
	}
	return found, nil
}

func (t *topic) read(ctx context.Context, limit int, offset uint64) ([]*events.Event, error) {
	state, err := t.info(ctx)
	if err != nil {
		return nil, err
	}
	if offset >= state.Msgs {
		return nil, nil
	}
	request, err := json.Marshal(map[string]any{
		"seq": state.FirstSeq + offset, "batch": limit, "max_bytes": stream.MaxBatchBytes - stream.MaxEvent,
	})
	if err != nil {
		return nil, err
	}
	conn := t.engine.consuming
	inbox := nats.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // it was read to its end
	if err := conn.PublishRequest("$JS.API.DIRECT.GET."+t.stream, inbox, request); err != nil {
		return nil, err
	}
	var found []*events.Event
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // the end of what was asked for; nothing
			return found, nil
		default:
			return nil, fmt.Errorf("%s %s", status, m.Header.Get("Description"))
		}
		event, err := t.decode(m.Data)
		if err != nil {
			return nil, err
		}
		found = append(found, event)
	}
}

// decode reads an event as it is kept.
func (t *topic) decode(data []byte) (*events.Event, error) {
	m := new(pb.Event)
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	m.Topic = t.name
	return stream.FromProto(m), nil
}
