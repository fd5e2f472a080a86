package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/events/stream"
)

// Topic is a topic at an instant, for a backup of what it had then.
type Topic struct {
	Name string
	// Groups are those that outlive their members, in the order of their names.
	Groups []string
	// last is the id of the last event; empty when there is none.
	last string
}

// Topics returns all topics as they are, in the order of their names. It reads nothing of their events, so that it takes a
// moment, whatever there is.
func (s *Stream) Topics(ctx context.Context) ([]Topic, error) {
	node, err := s.node(ctx, topicsKey)
	if err != nil {
		return nil, err
	}
	names, err := node.SMembers(ctx, topicsKey).Result()
	if err != nil {
		return nil, s.failure(ctx, "list topics", err)
	}
	slices.Sort(names)
	topics := make([]Topic, len(names))
	for i, name := range names {
		if topics[i], err = s.topic(ctx, name); err != nil {
			return nil, s.failure(ctx, "look at a topic", err)
		}
	}
	return topics, nil
}

func (s *Stream) topic(ctx context.Context, name string) (Topic, error) {
	t, k := Topic{Name: name}, keysOf(name)
	node, err := s.node(ctx, k.stream)
	if err != nil {
		return t, err
	}
	last, err := node.XRevRangeN(ctx, k.stream, "+", "-", 1).Result()
	if err != nil {
		return t, err
	}
	if len(last) > 0 {
		t.last = last[0].ID
	}
	state, err := node.HGetAll(ctx, k.state).Result()
	if err != nil {
		return t, err
	}
	for field, settings := range state {
		if group, ok := strings.CutPrefix(field, "g:"); ok && !strings.HasSuffix(settings, " loner") {
			t.Groups = append(t.Groups, group)
		}
	}
	slices.Sort(t.Groups)
	return t, nil
}

// copyAtOnce is how many events are asked for with one command: of the largest that there may be, they are 64 MiB.
const copyAtOnce = 64

// Copy gives f the events that a topic had when Topics returned it, the oldest first, a few at a time. What was removed
// since is left out.
func (s *Stream) Copy(ctx context.Context, t Topic, f func([]*events.Event) error) error {
	if t.last == "" {
		return nil
	}
	k := keysOf(t.Name)
	node, err := s.node(ctx, k.stream)
	if err != nil {
		return err
	}
	for from := "-"; ; {
		entries, err := node.XRangeN(ctx, k.stream, from, t.last, copyAtOnce).Result()
		if err != nil {
			return s.failure(ctx, "read events", err)
		}
		if len(entries) == 0 {
			return nil
		}
		found := make([]*events.Event, len(entries))
		for i, entry := range entries {
			data, _ := entry.Values["e"].(string)
			if found[i], err = decode(t.Name, data); err != nil {
				return err
			}
		}
		if err := f(found); err != nil {
			return err
		}
		from = "(" + entries[len(entries)-1].ID
	}
}

// Found makes a group, which gets all that the topic has and will have, though nobody of it is there yet.
func (s *Stream) Found(ctx context.Context, topic, group string) error {
	member, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: group})
	if err != nil {
		return err
	}
	return member.Close()
}
