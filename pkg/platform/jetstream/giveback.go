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
		if i < len(numbers)-1 {
			err = g.conn.Publish(subject, []byte("-NAK"))
		} else { // it is answered when all have been seen
			_, err = g.conn.RequestWithContext(ctx, subject, []byte("-NAK"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func splitReply(reply string) []string { return strings.Split(reply, ".") }

func logGivenUp(g *group, number uint64, attempts int) {
	logger.Warnf("The group %s gives up event %d of the topic %s: it was delivered %d times and never acknowledged",
		g.name, number, g.topic.name, attempts)
}

func logBroken(g *group, number uint64, err error) {
	logger.Errorf("The group %s leaves out event %d of the topic %s, which cannot be read: %v", g.name, number, g.topic.name, err)
}
