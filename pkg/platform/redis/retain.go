package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// crowded is the share of a topic's bound from which on the log says who keeps its events.
const crowded = 0.8

// sweepInTurn sweeps, unless another process has done it just before.
func (s *Stream) sweepInTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepEvery)
	defer cancel()
	node, err := s.node(ctx, sweepKey)
	if err != nil {
		return err
	}
	mine, err := node.SetNX(ctx, sweepKey, "", sweepEvery*3/4).Result()
	if err != nil || !mine {
		return err
	}
	return s.Sweep(ctx)
}

// Sweep removes what need not be kept any more: events that are older than Retention and acknowledged by all groups, and
// groups of which nobody has been there for that long. Of all the processes that have the stream open, one does it every
// minute by itself.
func (s *Stream) Sweep(ctx context.Context) error {
	node, err := s.node(ctx, topicsKey)
	if err != nil {
		return err
	}
	topics, err := node.SMembers(ctx, topicsKey).Result()
	if err != nil {
		return err
	}
	var failures error
	for _, topic := range topics {
		if err := s.usable(ctx); err != nil {
			return err
		}
		r, err := s.trim(ctx, topic, 0)
		if err != nil {
			s.moved(err)
			failures = errors.Join(failures, fmt.Errorf("topic %s: %w", topic, err))
			continue
		}
		if float64(r.bytes) >= crowded*float64(s.config.MaxBytes) {
			logger.Warnf("The topic %s is at %d%% of what it may have: the group %s is %s",
				topic, r.bytes*100/s.config.MaxBytes, r.slowest, behind(r.behind))
		}
	}
	return failures
}

// report says how a topic is.
type report struct {
	bytes int64
	// slowest is the group that is the furthest behind, and by how many events; empty when there is none, -1 when it is not known.
	slowest string
	behind  int64
}

// trim removes what need not be kept of a topic, and more than that when there has to be room for so many bytes.
func (s *Stream) trim(ctx context.Context, topic string, room int64) (report, error) {
	k := keysOf(topic)
	node, err := s.node(ctx, k.stream)
	if err != nil {
		return report{}, err
	}
	answer, err := trimScript.Run(ctx, node, []string{k.stream, k.state, k.marks},
		s.config.Retention.Milliseconds(), s.config.MaxBytes, room, (2 * deadAfter).Milliseconds()).Slice()
	if err != nil {
		return report{}, err
	}
	const fields = 4
	if len(answer) != fields {
		return report{}, errAnswer
	}
	var r report
	r.bytes, _ = answer[0].(int64)
	r.slowest, _ = answer[1].(string)
	r.behind, _ = answer[2].(int64)
	removed, _ := answer[3].([]any)
	for _, one := range removed {
		const parts = 3
		group, _ := one.([]any)
		if len(group) != parts {
			return report{}, errAnswer
		}
		age, _ := group[1].(int64)
		missing, _ := group[2].(int64)
		logger.Warnf("The group %s of the topic %s is removed: nobody of it has been there for %s, and it is %s",
			group[0], topic, (time.Duration(age) * time.Millisecond).Round(time.Second), behind(missing))
	}
	return r, nil
}
