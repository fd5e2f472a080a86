package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/micro/micro/v3/service/events"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// overhead is about what an event takes of the memory beside its data.
	overhead = 32
	// marksPerTopic is how many marks there are in a topic that is full: by so much exactly are its bytes known.
	marksPerTopic = 256
)

// PublishBatch implements stream.Stream.
func (s *Stream) PublishBatch(ctx context.Context, batch []*events.Event) (string, error) {
	if err := stream.PrepareAll(batch); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.publish(ctx, batch, true)
}

// publish publishes events that are prepared, those of each topic together, and returns the epoch if it is wanted.
func (s *Stream) publish(ctx context.Context, batch []*events.Event, wanted bool) (string, error) {
	if err := s.usable(ctx); err != nil {
		return "", err
	}
	if len(batch) == 0 {
		epoch, err := s.ask(ctx)
		if err != nil {
			return "", s.failure(ctx, "ask for the epoch", err)
		}
		return epoch, nil
	}
	epoch := ""
	for len(batch) > 0 {
		same, others := split(batch)
		if err := s.register(ctx, same[0].Topic); err != nil {
			return "", err
		}
		now, err := s.publishTo(ctx, same, wanted)
		if err != nil {
			return "", err
		}
		if epoch != "" && epoch != now {
			// What was published first may be gone, and nobody would know.
			return "", s.failure(ctx, "publish", errors.New("the epoch has changed meanwhile"))
		}
		epoch, batch = now, others
	}
	return epoch, nil
}

// split splits a batch into the events of the topic of its first one and the others.
func split(batch []*events.Event) (same, others []*events.Event) {
	for i, event := range batch {
		if event.Topic == batch[0].Topic {
			continue
		}
		same = append(same, batch[:i]...) // rare
		for _, event := range batch[i:] {
			if event.Topic == batch[0].Topic {
				same = append(same, event)
			} else {
				others = append(others, event)
			}
		}
		return same, others
	}
	return batch, nil
}

// publishTo publishes events of one topic.
func (s *Stream) publishTo(ctx context.Context, batch []*events.Event, wanted bool) (string, error) {
	const numbers = 4
	args := make([]any, numbers, numbers+len(batch))
	size, largest := 0, 0
	for _, event := range batch {
		data, err := encode(event)
		if err != nil {
			return "", err
		}
		size += len(data) + overhead
		largest = max(largest, len(data)+overhead)
		args = append(args, data)
	}
	bound := s.config.MaxBytes
	args[0], args[1], args[2], args[3] = size, largest, bound, bound/marksPerTopic

	topic := batch[0].Topic
	for again := false; ; again = true {
		answer, epoch, err := s.add(ctx, keysOf(topic), args, wanted)
		if err != nil {
			return "", s.failure(ctx, "publish", err)
		}
		if answer != "full" {
			return epoch, nil
		}
		r, err := s.trim(ctx, topic, int64(size))
		if err != nil {
			return "", s.failure(ctx, "make room in a topic", err)
		}
		if again || r.bytes+int64(size) > bound {
			return "", &stream.PassingError{Detail: r.full(topic)}
		}
	}
}

// full says that a topic is full, and whom it waits for.
func (r report) full(topic string) string {
	if r.slowest == "" {
		return fmt.Sprintf("the topic %s is full: it takes events again in a moment", topic)
	}
	return fmt.Sprintf("the topic %s is full: it takes events again when the group %s, which is %s, has acknowledged some",
		topic, r.slowest, behind(r.behind))
}

// add adds events to the stream, and returns what the script has answered. Before it does, on the same connection, the server
// says which one it is, if that is wanted: were it another one by then, the script would not have been done there.
func (s *Stream) add(ctx context.Context, k keys, args []any, wanted bool) (answer, epoch string, err error) {
	node, err := s.node(ctx, k.stream)
	if err != nil {
		return "", "", err
	}
	names := []string{k.stream, k.state, k.marks}
	if !wanted {
		answer, err = publishScript.Run(ctx, node, names, args...).Text()
		return answer, "", err
	}
	run := publishScript.EvalSha
	for {
		p := node.Pipeline()
		info := p.Info(ctx, "replication")
		added := run(ctx, p, names, args...)
		_, _ = p.Exec(ctx) // each has its own error
		if err := added.Err(); err != nil {
			if redis.HasErrorPrefix(err, "NOSCRIPT") {
				run = publishScript.Eval
				continue
			}
			return "", "", err
		}
		if info.Err() != nil {
			return "", "", info.Err()
		}
		id, err := lifeOf(info.Val())
		if err != nil {
			return "", "", err
		}
		answer, err := added.Text()
		return answer, s.lives.note(s.nameOf(node), id), err
	}
}

// encode is an event as it is kept.
func encode(event *events.Event) ([]byte, error) {
	m := stream.ToProto(event)
	m.Topic = "" // it is the stream's
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return data, nil
}

// behind says how far a group is behind.
func behind(n int64) string {
	if n < 0 {
		return "behind"
	}
	return fmt.Sprintf("%d events behind", n)
}
