package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Shares of a topic's bound: from roomy on, events that all groups have acknowledged are removed early, until it is half
// full; from crowded on the log says who keeps the others.
const (
	roomy, half = 0.75, 0.5
	crowded     = 0.8
)

// seenEvery is the share of Retention after which is noted again that somebody of a group is there.
const seenEvery = 8

// Sweep removes what need not be kept any more: events that are older than Retention and acknowledged by all groups, and
// groups of which nobody has been there for that long. The engine does it every minute by itself.
func (e *Engine) Sweep(ctx context.Context) error {
	var failures error
	for _, t := range e.all() {
		if err := e.usable(ctx); err != nil {
			return err
		}
		report, err := t.sweep(ctx, 0)
		if err != nil {
			failures = errors.Join(failures, fmt.Errorf("topic %s: %w", t.name, err))
			continue
		}
		if float64(report.state.Bytes) >= crowded*float64(e.config.MaxBytes) {
			logger.Warnf("The topic %s is at %d%% of what it may have: the group %s is %d events behind",
				t.name, int64(report.state.Bytes)*100/e.config.MaxBytes, report.slowest, report.behind)
		}
	}
	return failures
}

// report says how a topic is.
type report struct {
	state jetstream.StreamState
	// slowest is the group that is the furthest behind, and by how many events; "?" when there is none.
	slowest string
	behind  uint64
}

// sweep removes what need not be kept, and more than that when there has to be room for so many bytes.
func (t *topic) sweep(ctx context.Context, room int64) (report, error) {
	t.joining.Lock() // a group that is new may not find that gone which it was told there was
	defer t.joining.Unlock()
	groups, err := t.consumers(ctx)
	if err != nil {
		return report{}, err
	}
	if groups, err = t.removeDeserted(ctx, groups); err != nil {
		return report{}, err
	}
	state, err := t.info(ctx)
	if err != nil {
		return report{}, err
	}
	r := report{state: state, slowest: "?"}
	floor := state.LastSeq
	for _, g := range groups {
		if g.AckFloor.Stream < floor {
			floor, r.slowest, r.behind = g.AckFloor.Stream, g.Config.Metadata[nameKey], state.LastSeq-g.AckFloor.Stream
		}
	}
	if state.Msgs == 0 || floor < state.FirstSeq {
		return r, nil
	}
	first, err := t.firstSince(ctx, t.engine.config.now().Add(-t.engine.config.Retention), state)
	if err != nil {
		return report{}, err
	}
	if bytes := int64(state.Bytes); float64(bytes) >= roomy*float64(t.engine.config.MaxBytes) || room > 0 {
		surplus := max(bytes-int64(half*float64(t.engine.config.MaxBytes)), bytes+room-t.engine.config.MaxBytes)
		first = max(first, state.FirstSeq+uint64(max(surplus, 0))/(state.Bytes/state.Msgs+1)+1)
	}
	if first = min(first, floor+1); first <= state.FirstSeq {
		return r, nil
	}
	s, err := t.engine.js.Stream(ctx, t.stream)
	if err != nil {
		return report{}, err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(first)); err != nil {
		return report{}, err
	}
	t.shrunk.Store(true)
	r.state, err = t.info(ctx)
	return r, err
}

// firstSince is the number of the first event that came at a time or later; one behind the last when there is none.
func (t *topic) firstSince(ctx context.Context, at time.Time, state jetstream.StreamState) (uint64, error) {
	switch {
	case state.FirstTime.After(at):
		return state.FirstSeq, nil
	case state.LastTime.Before(at):
		return state.LastSeq + 1, nil
	}
	request, err := json.Marshal(map[string]any{"start_time": at.UTC()})
	if err != nil {
		return 0, err
	}
	answer, err := t.engine.consuming.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+t.stream, request)
	if err != nil {
		return 0, err
	}
	if status := answer.Header.Get("Status"); status != "" {
		return 0, fmt.Errorf("find the first event since a time: %s %s", status, answer.Header.Get("Description"))
	}
	return numberOf(answer)
}

// numberOf reads the sequence number of a message that was asked for.
func numberOf(m *nats.Msg) (uint64, error) {
	n, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return 0, errors.New("a message has no number")
	}
	return n, nil
}

// removeDeserted removes the groups of which nobody has been there for long, and returns the others. Nobody may join
// meanwhile.
func (t *topic) removeDeserted(ctx context.Context, groups []*jetstream.ConsumerInfo) ([]*jetstream.ConsumerInfo, error) {
	now, retention := t.engine.config.now(), t.engine.config.Retention
	kept := groups[:0]
	for _, info := range groups {
		name := info.Config.Metadata[nameKey]
		seen, err := time.Parse(time.RFC3339, info.Config.Metadata[seenKey])
		if err != nil {
			kept = append(kept, info) // not ours
			continue
		}
		g := t.group(name)
		switch there := g != nil && g.inhabited(); {
		case there && now.Sub(seen) > retention/seenEvery:
			if err := t.update(ctx, info.Config, now); err != nil {
				return nil, err
			}
		case !there && now.Sub(seen) > retention+retention/seenEvery+time.Second:
			logger.Warnf("The group %s of the topic %s is removed: nobody of it has been there for %s, and it is %d events behind",
				name, t.name, now.Sub(seen).Round(time.Second), info.NumPending+uint64(info.NumAckPending))
			if err := t.engine.js.DeleteConsumer(ctx, t.stream, info.Name); err != nil {
				return nil, err
			}
			t.forget(name)
			continue
		}
		kept = append(kept, info)
	}
	return kept, nil
}

// update notes that somebody of a group is there.
func (t *topic) update(ctx context.Context, config jetstream.ConsumerConfig, now time.Time) error {
	config.Metadata = seenNow(config.Metadata[nameKey], config.Metadata[lonerKey] != "", now)
	_, err := t.engine.js.UpdateConsumer(ctx, t.stream, config)
	return err
}
