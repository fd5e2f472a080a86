//go:build platform

package redis

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/events/stream"
)

// history is what happens to a topic, in some processes, beside what has to come of it.
type history struct {
	t         *rapid.T
	config    Config
	topic     string
	streams   []*Stream
	published int
	groups    map[string]*groupModel
	members   []*memberModel
}

// groupModel is what is known of a group.
type groupModel struct {
	acked map[int]bool
	held  map[int]*memberModel // who has them
	first int                  // the next one that is to come for the first time
}

type memberModel struct {
	stream *Stream
	sub    stream.Subscription
	group  *groupModel
	most   int
	tags   map[int]uint64
}

func (h *history) open() *Stream {
	s, err := OpenStream(h.config)
	require.NoError(h.t, err)
	return s
}

func (h *history) process(t *rapid.T) int {
	return rapid.IntRange(0, len(h.streams)-1).Draw(t, "process")
}

// publish publishes a few events.
func (h *history) publish(t *rapid.T) {
	n := rapid.IntRange(1, 40).Draw(t, "n")
	_, err := h.streams[h.process(t)].PublishBatch(context.Background(), numbered(h.topic, h.published, n))
	require.NoError(t, err)
	h.published += n
}

// join has a group get a member.
func (h *history) join(t *rapid.T) {
	if len(h.members) == 4 {
		t.Skip("there are enough")
	}
	name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "group")
	most := rapid.SampledFrom([]int{1, 7, 100}).Draw(t, "most")
	s := h.streams[h.process(t)]
	sub, err := s.Subscribe(context.Background(), stream.Options{Topic: h.topic, Group: name, AckWait: time.Hour, MaxInFlight: most})
	require.NoError(t, err)
	if h.groups[name] == nil {
		h.groups[name] = &groupModel{acked: make(map[int]bool), held: make(map[int]*memberModel)}
	}
	h.members = append(h.members, &memberModel{stream: s, sub: sub, group: h.groups[name], most: most, tags: make(map[int]uint64)})
}

func (h *history) member(t *rapid.T) *memberModel {
	if len(h.members) == 0 {
		t.Skip("there is none")
	}
	return rapid.SampledFrom(h.members).Draw(t, "member")
}

// next receives, if there has to be something.
func (h *history) next(t *rapid.T) {
	m := h.member(t)
	if len(m.tags) == m.most || h.published == len(m.group.acked)+len(m.group.held) {
		t.Skip("there is nothing")
	}
	h.receive(t, m)
}

func (h *history) receive(t *rapid.T, m *memberModel) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	batch, err := m.sub.Next(ctx)
	require.NoError(t, err, "%d of %d events are acknowledged, and %d held", len(m.group.acked), h.published, len(m.group.held))
	g := m.group
	for _, d := range batch {
		n, err := strconv.Atoi(string(d.Payload))
		require.NoError(t, err)
		require.Less(t, n, h.published)
		require.Nil(t, g.held[n], "event %d is delivered twice at once", n)
		require.False(t, g.acked[n], "event %d is delivered after it was acknowledged", n)
		if len(h.streams) == 1 {
			require.LessOrEqual(t, n, g.first, "event %d comes before %d", n, g.first)
		}
		if n == g.first {
			g.first++
		}
		g.held[n], m.tags[n] = m, d.Tag
	}
	require.LessOrEqual(t, len(m.tags), m.most)
}

// some takes some of what a member has from it.
func (m *memberModel) some(t *rapid.T) (numbers []int, tags []uint64) {
	all := rapid.Bool().Draw(t, "all")
	for _, n := range slices.Sorted(maps.Keys(m.tags)) { // in order, for the same history each time
		if all || rapid.Bool().Draw(t, "this one") {
			numbers, tags = append(numbers, n), append(tags, m.tags[n])
		}
	}
	for _, n := range numbers {
		delete(m.tags, n)
		delete(m.group.held, n)
	}
	return numbers, tags
}

// ack acknowledges.
func (h *history) ack(t *rapid.T) {
	m := h.member(t)
	numbers, tags := m.some(t)
	require.NoError(t, m.sub.Ack(tags...))
	for _, n := range numbers {
		m.group.acked[n] = true
	}
}

// nack has events delivered again, at once or soon.
func (h *history) nack(t *rapid.T) {
	m := h.member(t)
	_, tags := m.some(t)
	delay := rapid.SampledFrom([]time.Duration{0, time.Microsecond, 30 * time.Millisecond}).Draw(t, "delay")
	require.NoError(t, m.sub.Nack(delay, tags...))
}

// extend changes nothing that can be seen.
func (h *history) extend(t *rapid.T) {
	m := h.member(t)
	require.NoError(t, m.sub.Extend(slices.Collect(maps.Values(m.tags))...))
}

// leave has a member go away.
func (h *history) leave(t *rapid.T) {
	m := h.member(t)
	require.NoError(t, m.sub.Close())
	h.gone(m)
}

func (h *history) gone(m *memberModel) {
	for n := range m.tags {
		delete(m.group.held, n)
	}
	h.members = slices.DeleteFunc(h.members, func(other *memberModel) bool { return other == m })
}

// restart ends a process, and another one begins.
func (h *history) restart(t *rapid.T) {
	i := h.process(t)
	require.NoError(t, h.streams[i].Close())
	for _, m := range slices.Clone(h.members) {
		if m.stream == h.streams[i] {
			h.gone(m)
		}
	}
	h.streams[i] = h.open()
}

// finish makes sure that each group gets all that it has not acknowledged.
func (h *history) finish() {
	for len(h.members) > 0 {
		require.NoError(h.t, h.members[0].sub.Close())
		h.gone(h.members[0])
	}
	for name, g := range h.groups {
		sub, err := h.streams[0].Subscribe(context.Background(), stream.Options{Topic: h.topic, Group: name, AckWait: time.Hour})
		require.NoError(h.t, err)
		m := &memberModel{stream: h.streams[0], sub: sub, group: g, most: stream.DefaultMaxInFlight, tags: make(map[int]uint64)}
		for len(g.acked) < h.published {
			h.receive(h.t, m)
			for n, tag := range m.tags {
				require.NoError(h.t, sub.Ack(tag))
				g.acked[n] = true
				delete(g.held, n)
				delete(m.tags, n)
			}
		}
		require.NoError(h.t, sub.Close())
	}
}

// Whatever happens, nothing is lost, nothing that was acknowledged comes again, nobody gets what somebody has, and in one
// process what comes for the first time comes in order.
func TestHistories(t *testing.T) {
	t.Parallel()
	_, config := own(t)
	config.beat = 50 * time.Millisecond
	rapid.Check(t, func(r *rapid.T) {
		h := &history{t: r, config: config, topic: newMember(), groups: make(map[string]*groupModel)}
		for range rapid.IntRange(1, 3).Draw(r, "processes") {
			h.streams = append(h.streams, h.open())
		}
		require.NoError(t, h.streams[0].client.FlushAll(t.Context()).Err()) // of the history before
		defer func() {
			for _, s := range h.streams {
				require.NoError(t, s.Close())
			}
		}()
		r.Repeat(map[string]func(*rapid.T){
			"publish": h.publish, "join": h.join, "next": h.next, "ack": h.ack, "nack": h.nack,
			"extend": h.extend, "leave": h.leave, "restart": h.restart,
		})
		h.finish()
	})
}
