package redis

import (
	"context"
	"fmt"

	"github.com/micro/micro/v3/service/events"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/events/stream"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

// Read implements events.Store: it returns what the stream still has of a topic, the oldest first, at most MaxBatch and
// MaxBatchBytes of it, and 250 events unless it is told how many. The offset is counted from the oldest that there is; the
// server passes over so many events to get there.
func (s *Stream) Read(name string, opts ...events.ReadOption) ([]*events.Event, error) {
	if name == "" {
		return nil, events.ErrMissingTopic
	}
	if err := stream.ValidName("topic", name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	limit, offset := stream.ReadOptions(opts...)
	found, err := s.read(ctx, name, limit, offset)
	if err != nil {
		return nil, s.failure(ctx, "read events", err)
	}
	return found, nil
}

func (s *Stream) read(ctx context.Context, name string, limit int, pass uint64) (found []*events.Event, err error) {
	k := keysOf(name)
	node, err := s.node(ctx, k.stream)
	if err != nil {
		return nil, err
	}
	for from, size := "-", 0; from != "" && len(found) < limit; {
		answer, err := readScript.Run(ctx, node, []string{k.stream, k.state}, from, pass, limit-len(found), maxReply).Slice()
		if err != nil {
			return nil, err
		}
		const fields = 3
		if len(answer) != fields {
			return nil, errAnswer
		}
		from, _ = answer[0].(string)
		passed, _ := answer[1].(int64)
		list, _ := answer[2].([]any)
		pass -= uint64(passed)
		for _, data := range list {
			data, _ := data.(string)
			if size += len(data); size > stream.MaxBatchBytes && len(found) > 0 {
				return found, nil
			}
			event, err := decode(name, data)
			if err != nil {
				return nil, err
			}
			found = append(found, event)
		}
	}
	return found, nil
}

// decode reads an event as it is kept.
func decode(topic, data string) (*events.Event, error) {
	m := new(pb.Event)
	if err := proto.Unmarshal([]byte(data), m); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	m.Topic = topic
	return stream.FromProto(m), nil
}
