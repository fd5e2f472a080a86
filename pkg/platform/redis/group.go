package redis

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// readEvents and readBytes are what the servers are asked for at once, or what is kept ready before they are asked again.
	readEvents, readBytes = 1000, 4 << 20
	// maxUnsettled is how many events of a group may be on their way to members here.
	maxUnsettled = 100_000
)

// group is a group of a topic, as far as its members are in this process: together they are one consumer of Redis, whose name
// nobody has had before and nobody will have again. It ends with its last member, or when a server does not do what it is
// asked: what had been on its way is then free for others, or will be when it is taken for dead.
type group struct {
	stream *Stream
	topic  string
	keys   keys
	name   string
	loner  bool   // whether it ends with its only member
	member string // the consumer of Redis

	news chan struct{} // has one element when there is something to do
	quit chan struct{} // closed when it is to end
	done chan struct{} // closed when it has ended

	mu       sync.Mutex
	ackWait  time.Duration
	retries  int    // as Options.RetryLimit
	settings string // as they are kept in Redis
	set      bool   // whether they have to be written there
	members  map[*subscription]struct{}
	ended    bool

	waiting []*item // to be handed out, in this order
	bytes   int     // of what waits
	held    int     // how many are handed out

	fresh, free bool      // whether there may be events that nobody has had, and that somebody has put back
	told        int       // how often somebody has said so
	due         time.Time // when something that was put off may be
	largest     int       // bytes of the topic's largest event
	acks        []string  // what is to be acknowledged
	backs       []putBack // what is to be put back

	deadlines []deadline // of what is handed out, in the order of their times
	timer     *time.Timer
}

// item is an event on its way.
type item struct {
	id      string
	attempt int
	came    time.Time
	data    string // as it is kept; empty when it is handed out

	owner    *subscription // nil as long as it waits
	tag      uint64
	deadline time.Time // when it is put back
}

// deadline is when an item is put back, unless its own deadline is later by then.
type deadline struct {
	*item
	at time.Time
}

// putBack is an event that is put back.
type putBack struct {
	id       string
	attempts int // how often it was delivered
	delay    time.Duration
}

// wake tells the group that there may be something new, or something that was put back.
func (g *group) wake(fresh, free bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fresh = g.fresh || fresh
	g.free = g.free || free
	g.told++
	g.work()
}

// work has the loop look what is to be done.
func (g *group) work() {
	select {
	case g.news <- struct{}{}:
	default:
	}
}

// fail ends the group, and all subscriptions with an error.
func (g *group) fail(err error) {
	g.mu.Lock()
	g.failLocked(err)
	g.mu.Unlock()
}

func (g *group) failLocked(err error) {
	for s := range g.members {
		s.fail(err)
	}
	g.end()
}

// end ends the group.
func (g *group) end() {
	if !g.ended {
		g.ended = true
		close(g.quit)
		if g.timer != nil {
			g.timer.Stop()
		}
	}
}

// wanted is how many events more are to be ready for the members: those that ask for none now may take long with what they
// have, and members elsewhere would get what is kept ready for them.
func (g *group) wanted(now time.Time) int {
	capacity, most := 0, 0
	for s := range g.members {
		if g.asks(s, now) {
			capacity += s.capacity()
			most += s.options.MaxInFlight
		}
	}
	n := min(capacity-len(g.waiting), readEvents, maxUnsettled-g.held-len(g.waiting))
	// A few at a time only when there is nothing else to do: each request has its price.
	if n <= 0 || g.bytes > readBytes || n < min(most/4, readEvents/4) && len(g.waiting) > 0 {
		return 0
	}
	return n
}

// add adds what has come to what waits: what was put back before what is behind it in the stream.
func (g *group) add(items []*item) {
	if len(items) == 0 {
		return
	}
	sorted := len(g.waiting) == 0 || compare(g.waiting[len(g.waiting)-1].id, items[0].id) < 0
	g.waiting = append(g.waiting, items...)
	if !sorted {
		slices.SortStableFunc(g.waiting, func(a, b *item) int { return compare(a.id, b.id) })
	}
	for _, it := range items {
		g.bytes += len(it.data)
	}
	for s := range g.members {
		if s.idle && s.capacity() > 0 {
			s.signal()
		}
	}
}

// compare compares ids of Redis, two decimal numbers with a dash between.
func compare(a, b string) int {
	aTime, aNumber, _ := strings.Cut(a, "-")
	bTime, bNumber, _ := strings.Cut(b, "-")
	for _, p := range [][2]string{{aTime, bTime}, {aNumber, bNumber}} {
		if len(p[0]) != len(p[1]) {
			return len(p[0]) - len(p[1])
		}
		if c := strings.Compare(p[0], p[1]); c != 0 {
			return c
		}
	}
	return 0
}

// handOut hands what waits to a member: as much as it can take, and leaves others their share.
func (g *group) handOut(s *subscription) []*item {
	sharing := 0
	for other := range g.members {
		if other.idle && other.capacity() > 0 {
			sharing++
		}
	}
	n := min(len(g.waiting), s.capacity(), stream.MaxBatch)
	if sharing > 1 {
		n = min(n, (len(g.waiting)+sharing-1)/sharing)
	}
	if n <= 0 {
		return nil
	}
	now := time.Now()
	size, taken := 0, 0
	for _, it := range g.waiting[:n] {
		if size += len(it.data); size > stream.MaxBatchBytes && taken > 0 {
			break
		}
		taken++
		g.bytes -= len(it.data)
		s.last++
		it.owner, it.tag = s, s.last
		s.items[it.tag] = it
		g.begin(it, now)
	}
	g.held += taken
	batch := slices.Clone(g.waiting[:taken])
	g.waiting = g.waiting[taken:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
	return batch
}

// drop forgets what a member has.
func (g *group) drop(it *item) {
	delete(it.owner.items, it.tag)
	it.owner = nil
	g.held--
}

// begin begins the time that a member has for an item.
func (g *group) begin(it *item, now time.Time) {
	it.deadline = now.Add(g.ackWait)
	if len(g.deadlines) > 2*g.held+readEvents {
		g.deadlines = slices.DeleteFunc(g.deadlines, func(d deadline) bool { return !d.stands() })
	}
	g.deadlines = append(g.deadlines, deadline{it, it.deadline})
	if g.timer == nil {
		g.timer = time.AfterFunc(g.ackWait, g.expire)
	}
}

// stands tells whether a deadline is still that of something that a member has.
func (d deadline) stands() bool { return d.owner != nil && d.deadline.Equal(d.at) }

// expire puts back what members have had for too long.
func (g *group) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = nil
	if g.ended {
		return
	}
	now := time.Now()
	i := 0
	for ; i < len(g.deadlines); i++ {
		d := g.deadlines[i]
		if !d.stands() {
			continue
		}
		if d.at.After(now) {
			break
		}
		g.drop(d.item)
		g.backs = append(g.backs, putBack{d.id, d.attempt, 0})
	}
	g.deadlines = slices.Delete(g.deadlines, 0, i)
	if len(g.deadlines) > 0 {
		g.timer = time.AfterFunc(time.Until(g.deadlines[0].at), g.expire)
	}
	g.work()
}

// deserted tells whether something waits that nobody here has asked for of late.
func (g *group) deserted(now time.Time) bool {
	if len(g.waiting) == 0 || now.Sub(g.waiting[0].came) < g.stream.config.beat {
		return false
	}
	for s := range g.members {
		if g.asks(s, now) {
			return false
		}
	}
	return true
}

// asks tells whether a member waits for events, or did a moment ago, so that some are to be ready for it.
func (g *group) asks(s *subscription, now time.Time) bool {
	return s.idle || now.Sub(s.asked) < min(g.stream.config.beat, g.ackWait/2)
}

// spare puts back what waits, so that members elsewhere get it. It does not count as delivered.
func (g *group) spare() {
	for _, it := range g.waiting {
		g.backs = append(g.backs, putBack{it.id, it.attempt - 1, 0})
	}
	g.waiting, g.bytes = nil, 0
}

// settle forgets a delivery and returns what it was; nil when the member does not have it.
func (g *group) settle(s *subscription, tag uint64) *item {
	it := s.items[tag]
	if it != nil {
		g.drop(it)
	}
	return it
}

// giveUp says whether an event was delivered too often.
func (g *group) giveUp(it *item) bool {
	if g.retries == 0 || it.attempt <= max(g.retries, 0)+1 {
		return false
	}
	logger.Warnf("The group %s gives up event %s of the topic %s: it was delivered %d times and never acknowledged",
		g.name, it.id, g.topic, it.attempt-1)
	return true
}
