package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/redis/go-redis/v9"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// beat is how often a member says that it is there, and looks for what it was not told of; and how long something is kept
	// ready for members that do not ask for it.
	beat = time.Second
	// deadAfter is after how long a member that has said nothing is taken for dead.
	deadAfter = 5 * time.Second
	// idsAtOnce is how many events are acknowledged or put back with one command.
	idsAtOnce = 500
)

// run does what is to be done for the group until it ends: nobody else talks to the servers about it, so that what is said is
// said in order.
func (g *group) run() {
	defer close(g.done)
	defer g.stream.exit(g)
	tick, due := time.NewTicker(g.stream.config.beat), time.NewTimer(deadAfter)
	defer tick.Stop()
	defer due.Stop()
	look := true
	for {
		more, err := g.round(look)
		if err != nil {
			logger.Warnf("The members of the group %s of the topic %s have to subscribe again: %v", g.name, g.topic, err)
			g.fail(g.stream.failure(context.Background(), "receive events", err))
		}
		select {
		case <-g.quit:
			g.leave(err)
			return
		default:
		}
		if look = false; more {
			continue
		}
		g.mu.Lock()
		if g.due.IsZero() {
			due.Stop()
		} else {
			due.Reset(time.Until(g.due))
		}
		g.mu.Unlock()
		select {
		case <-g.quit:
			g.leave(nil)
			return
		case <-g.news:
		case <-due.C:
			g.mu.Lock()
			g.free, g.due = true, time.Time{}
			g.mu.Unlock()
		case <-tick.C:
			g.mu.Lock()
			g.fresh, g.free = true, true
			if g.deserted(time.Now()) {
				g.spare()
			}
			g.mu.Unlock()
			look = true
		}
	}
}

// errands is what is done in one round.
type errands struct {
	acks     []string
	backs    []putBack
	settings string // to be written; empty when they are known
	claim    bool
	wanted   int
	told     int // how often had been told that there is something
}

// errands takes what is to be done.
func (g *group) errands(look bool) errands {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := errands{acks: g.acks, backs: g.backs, wanted: g.wanted(time.Now()), told: g.told}
	g.acks, g.backs = nil, nil
	if g.set {
		e.settings, g.set = g.settings, false
	}
	for _, b := range e.backs {
		if b.delay == 0 {
			g.free = true
		} else {
			g.putOff(b.delay)
		}
	}
	e.claim = look || e.settings != "" || g.free && e.wanted > 0
	if !e.claim && !g.fresh {
		e.wanted = 0
	}
	return e
}

// putOff notes that something is due after a delay.
func (g *group) putOff(delay time.Duration) {
	if at := time.Now().Add(delay); g.due.IsZero() || at.Before(g.due) {
		g.due = at
	}
}

// round talks to the server once, and tells whether there may be more to do at once.
func (g *group) round(look bool) (bool, error) {
	e := g.errands(look)
	if len(e.acks)+len(e.backs)+e.wanted == 0 && !e.claim {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	node, err := g.stream.node(ctx, g.keys.stream)
	if err != nil {
		return false, err
	}
	p := node.Pipeline()
	g.say(ctx, p, e)
	var claimed, read *redis.Cmd
	if e.claim {
		claimed = claimScript.EvalSha(ctx, p, []string{g.keys.stream, g.keys.state, g.keys.late(g.name), g.keys.alive(g.name)},
			g.name, g.member, e.wanted, maxReply, deadAfter.Milliseconds(), flag(look), e.settings)
	} else if e.wanted > 0 {
		e.wanted = g.atMost(e.wanted)
		read = p.Do(ctx, "XREADGROUP", "GROUP", g.name, g.member, "COUNT", e.wanted, "STREAMS", g.keys.stream, ">")
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	switch {
	case claimed != nil:
		return true, g.claimed(claimed, e)
	case read != nil:
		return true, g.read(read, e)
	}
	return true, nil
}

// say says what has become of events.
func (g *group) say(ctx context.Context, p redis.Pipeliner, e errands) {
	for ids := e.acks; len(ids) > 0; {
		n := min(len(ids), idsAtOnce)
		p.XAck(ctx, g.keys.stream, g.name, ids[:n]...)
		ids = ids[n:]
	}
	for len(e.backs) > 0 { // those with the same delay together
		args := []any{g.name, g.member, e.backs[0].delay.Milliseconds()}
		n := 0
		for n < len(e.backs) && n < idsAtOnce && e.backs[n].delay == e.backs[0].delay {
			args = append(args, e.backs[n].id, e.backs[n].attempts)
			n++
		}
		putBackScript.EvalSha(ctx, p, []string{g.keys.stream, g.keys.late(g.name)}, args...)
		e.backs = e.backs[n:]
	}
}

func flag(is bool) int {
	if is {
		return 1
	}
	return 0
}

// atMost is how many events may be read at once, so that an answer is not too large.
func (g *group) atMost(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return min(n, max(1, maxReply/max(g.largest, 1)))
}

// claimed takes what was free.
func (g *group) claimed(cmd *redis.Cmd, e errands) error {
	answer, err := cmd.Slice()
	const fields = 4
	if err != nil || len(answer) != fields {
		return errors.Join(err, errAnswer)
	}
	settings, _ := answer[0].(string)
	wait, _ := answer[1].(int64)
	largest, _ := answer[2].(int64)
	list, _ := answer[3].([]any)
	now := time.Now()
	items := make([]*item, 0, len(list))
	for _, one := range list {
		const parts = 3
		entry, _ := one.([]any)
		if len(entry) != parts {
			return errAnswer
		}
		it := &item{came: now}
		it.id, _ = entry[0].(string)
		attempt, _ := entry[1].(int64)
		it.attempt = int(attempt)
		it.data, _ = entry[2].(string)
		items = append(items, it)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.largest = int(largest)
	if !g.set {
		g.learn(settings)
	}
	if g.due = (time.Time{}); wait >= 0 {
		g.due = now.Add(time.Duration(wait+1) * time.Millisecond)
	}
	if len(items) == 0 && e.wanted > 0 && e.told == g.told {
		g.free = false
	}
	kept := items[:0]
	for _, it := range items {
		if g.giveUp(it) {
			g.acks = append(g.acks, it.id)
		} else {
			kept = append(kept, it)
		}
	}
	g.add(kept)
	return nil
}

// read takes what nobody of the group has had.
func (g *group) read(cmd *redis.Cmd, e errands) error {
	answer, err := cmd.Slice()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	var list []any
	if len(answer) == 1 {
		if one, _ := answer[0].([]any); len(one) == 2 { // the stream and its entries
			list, _ = one[1].([]any)
		}
	}
	now := time.Now()
	items := make([]*item, len(list))
	block := make([]item, len(list))
	for i, one := range list {
		entry, _ := one.([]any)
		if len(entry) != 2 { // the id and the fields
			return errAnswer
		}
		id, _ := entry[0].(string)
		fields, _ := entry[1].([]any)
		if len(fields) < 2 { // a name and its value
			return errAnswer
		}
		data, _ := fields[1].(string)
		block[i] = item{id: id, attempt: 1, came: now, data: data}
		items[i] = &block[i]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(items) < e.wanted && e.told == g.told {
		g.fresh = false
	}
	g.add(items)
	return nil
}

// settingsOf are the options that go for the group wherever its members are, as text.
func settingsOf(ackWait time.Duration, retries int, loner bool) string {
	text := strconv.FormatInt(int64(ackWait), 10) + " " + strconv.Itoa(retries)
	if loner {
		text += " loner"
	}
	return text
}

// learn takes over settings that a member elsewhere has given.
func (g *group) learn(settings string) {
	if settings == g.settings {
		return
	}
	var ackWait, retries int64
	if _, err := fmt.Sscan(strings.TrimSuffix(settings, " loner"), &ackWait, &retries); err != nil {
		return
	}
	g.settings, g.ackWait, g.retries = settings, time.Duration(ackWait), int(retries)
}

// leave says what is still to be said, and makes free what the members had. When that fails, others find out that nobody is
// there any more.
func (g *group) leave(broken error) {
	within := timeout
	if broken != nil {
		within = time.Second // it is not likely to be better
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	g.mu.Lock()
	g.spare()
	e := errands{acks: g.acks, backs: g.backs}
	g.mu.Unlock()
	node, err := g.stream.node(ctx, g.keys.stream)
	if err == nil {
		p := node.Pipeline()
		g.say(ctx, p, e)
		leaveScript.EvalSha(ctx, p, []string{g.keys.stream, g.keys.state, g.keys.late(g.name), g.keys.alive(g.name)},
			g.name, g.member, flag(g.loner))
		_, err = p.Exec(ctx)
	}
	if err != nil && broken == nil {
		logger.Warnf("A member of the group %s of the topic %s is gone, what it had is repeated in %s: %v", g.name, g.topic, deadAfter, err)
	}
}

// join makes the group a member in Redis, and the group there if there is none.
func (g *group) join(ctx context.Context, offset time.Time) error {
	node, err := g.stream.node(ctx, g.keys.stream)
	if err != nil {
		return err
	}
	since := int64(-1)
	if !offset.IsZero() {
		since = max(min(offset.Unix(), 1<<40), 0)*1000 + int64(offset.Nanosecond())/int64(time.Millisecond) // ms
	}
	p := node.Pipeline()
	load(ctx, p)
	joined := joinScript.Eval(ctx, p, []string{g.keys.stream, g.keys.state, g.keys.late(g.name), g.keys.alive(g.name)},
		g.name, g.member, g.settings, since, before(since), stream.MaxGroups)
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	answer, err := joined.Text()
	if err == nil && answer == "many" {
		return errManyGroups
	}
	return err
}
