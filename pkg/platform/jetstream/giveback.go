package jetstream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// giveBack has the server deliver everything at once that it takes for being worked on, though the group has no member: what
// they had, what was on its way to them, and what they had when an engine was killed. The server does not tell which events
// these are, but it ignores the same word about all others.
func (g *group) giveBack(ctx context.Context) error {
	e := g.topic.engine
	// A request of theirs for more events that the server comes to only later would have it put the first of those that it
	// is to repeat behind the others. It comes to requests in their order, and answers this one, which says nothing.
	if _, err := g.conn.RequestWithContext(ctx, g.pullSubject(), []byte("{")); err != nil {
		return err
	}
	c, err := e.js.Consumer(ctx, g.topic.stream, g.consumer)
	if err != nil {
		return err
	}
	info := c.CachedInfo()
	first, last := info.AckFloor.Stream+1, info.Delivered.Stream
	if info.NumAckPending == 0 || first > last {
		return nil
	}
	// With more than that, the rest is delivered again when its time has passed.
	last = min(last, first+2*maxUnsettled)
	g.mu.Lock()
	now := time.Now()
	numbers := make([]uint64, 0, last-first+1)
	for n := first; n <= last; n++ {
		if until, ok := g.putOff[n]; !ok || until.Before(now) {
			numbers = append(numbers, n)
			delete(g.putOff, n)
		}
	}
	g.mu.Unlock()
	for i, n := range numbers {
		subject := fmt.Sprintf("$JS.ACK.%s.%s.1.%d.%d.1.0", g.topic.stream, g.consumer, n, info.Delivered.Consumer)
		// What the server could not deliver because nobody was there any more it has queued before all others: putting it off
		// takes it out of the queue, so that it gets its place in the order.
		if err := g.conn.Publish(subject, []byte(`-NAK {"delay": 60000000000}`)); err != nil {
			return err
		}
		if i < len(numbers)-1 {
			err = g.conn.Publish(subject, []byte("-NAK"))
		} else { // it is answered when all have been seen
			_, err = g.conn.RequestWithContext(ctx, subject, []byte("-NAK"))
		}
		if err != nil {
			return err
		}
	}
	// By now it has also seen what was acknowledged before.
	if info, err = c.Info(ctx); err != nil {
		return err
	}
	g.owe(info.AckFloor.Stream+1, last, info.NumAckPending)
	return nil
}

// strayFor is how long after that something may come that the server had in its hands meanwhile.
const strayFor = time.Second

// owe makes the first event that was given back the one that is to come next, if there is one.
func (g *group) owe(first, last uint64, unsettled int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owed, g.behind, g.strays = 0, last, time.Now().Add(strayFor)
	if _, ok := g.putOff[first]; !ok && unsettled > 0 {
		g.owed = first
	}
}

// isStray tells whether an event has overtaken those that were given back. It is put behind them again, unless that counts.
func (g *group) isStray(number uint64, attempt int) bool {
	if g.owed == 0 || number <= g.behind || attempt > 1 || g.retries != 0 || time.Now().After(g.strays) {
		g.owed = 0
		return false
	}
	return true
}

func splitReply(reply string) []string { return strings.Split(reply, ".") }

func logGivenUp(g *group, number uint64, attempts int) {
	logger.Warnf("The group %s gives up event %d of the topic %s: it was delivered %d times and never acknowledged",
		g.name, number, g.topic.name, attempts)
}

func logBroken(g *group, number uint64, err error) {
	logger.Errorf("The group %s leaves out event %d of the topic %s, which cannot be read: %v", g.name, number, g.topic.name, err)
}
