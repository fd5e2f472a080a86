package jetstream

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/nats-io/nats.go"

	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// pullEvents and pullBytes are what the server is asked for at once.
	pullEvents, pullBytes = 1000, 4 << 20
	// pullFor is how long the server keeps a request that it has no events for.
	pullFor = 30 * time.Second
	// grace is how much longer than the server we take an event for being worked on: when there is room for it again, the
	// server is to know that it comes before those behind it.
	grace = 50 * time.Millisecond
	// maxUnsettled is how many events of a group may be on their way or put off. With more of them the group gets nothing new.
	maxUnsettled = 100_000
)

// group is a group of a topic: a consumer of JetStream. All members are in this process, and one request for more events is
// open for all of them together: so that what comes for a member that has just left goes to another one.
type group struct {
	topic    *topic
	name     string
	consumer string // JetStream's name of it
	loner    bool   // whether it ends with its only member
	settled  bool   // whether there is no member, and nothing to be given back; guarded by the topic's joining
	conn     *nats.Conn

	mu      sync.Mutex
	ackWait time.Duration
	retries int // as Options.RetryLimit
	members map[*subscription]struct{}
	inbox   *nats.Subscription // nil as long as there is no member

	waiting []*item          // to be handed out, in this order
	bytes   int              // of what waits
	items   map[uint64]*item // those that wait or are handed out, by the event's number
	putOff  map[uint64]time.Time
	owed    uint64 // the event that comes next, of those up to behind that were given back; 0 when it has come
	behind  uint64
	strays  time.Time // until when others may come before it
	asked   int       // how many events of the request are still to come
	until   time.Time // when the request ends

	deadlines []deadline // of what is handed out, in the order of their times
	timer     *time.Timer
}

// item is an event on its way.
type item struct {
	number  uint64 // in the stream
	reply   string // where it is acknowledged
	attempt int
	came    time.Time
	size    int
	event   *events.Event // nil when it is handed out

	owner    *subscription // nil as long as it waits
	tag      uint64
	deadline time.Time // when it is delivered again
}

// deadline is when an item is delivered again, unless its own deadline is later by then.
type deadline struct {
	*item
	at time.Time
}

func (t *topic) newGroup(name string) *group {
	return &group{
		topic: t, name: name, consumer: encode(name), conn: t.engine.consuming,
		members: make(map[*subscription]struct{}), items: make(map[uint64]*item), putOff: make(map[uint64]time.Time),
	}
}

// inhabited tells whether the group has members.
func (g *group) inhabited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members) > 0
}

// breakAll ends all subscriptions of the group with an error. What they have is given back when they are closed, or when
// the engine starts again.
func (g *group) breakAll(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failAll(err)
	if g.timer != nil {
		g.timer.Stop()
	}
}

// receive takes a message of the server: an event, or why there are none.
func (g *group) receive(m *nats.Msg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Sub != g.inbox || m.Sub == nil {
		return // of a time when there were others; it is given back as what they had
	}
	if status := m.Header.Get("Status"); status != "" {
		g.asked = 0
		switch status {
		case "503", "404": // it was removed
			g.failAll(&stream.PassingError{Detail: "the group was removed: subscribe again"})
		case "409":
			if m.Header.Get("Description") == "Consumer Deleted" {
				g.failAll(&stream.PassingError{Detail: "the group was removed: subscribe again"})
				return
			}
			fallthrough
		default:
			g.ask()
		}
		return
	}
	g.asked--
	g.take(m)
	g.ask()
}

func (g *group) failAll(err error) {
	for s := range g.members {
		s.fail(err)
	}
}

// take takes an event.
func (g *group) take(m *nats.Msg) {
	number, attempt, ok := parseReply(m.Reply)
	if !ok {
		return
	}
	if g.isStray(number, attempt) {
		g.send(m.Reply, "-NAK")
		return
	}
	delete(g.putOff, number)
	if old := g.items[number]; old != nil {
		g.drop(old) // its time has passed
	}
	if limit := g.retries; limit != 0 && attempt > max(limit, 0)+1 {
		g.send(m.Reply, "+TERM")
		logGivenUp(g, number, attempt-1)
		return
	}
	event, err := g.topic.decode(m.Data)
	if err != nil {
		g.send(m.Reply, "+TERM")
		logBroken(g, number, err)
		return
	}
	it := &item{number: number, reply: m.Reply, attempt: attempt, came: time.Now(), size: len(m.Data), event: event}
	g.items[number] = it
	g.waiting = append(g.waiting, it)
	g.bytes += it.size
	g.wake()
}

// drop forgets an item.
func (g *group) drop(it *item) {
	delete(g.items, it.number)
	if it.owner != nil {
		delete(it.owner.items, it.tag)
		return
	}
	if i := slices.Index(g.waiting, it); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.bytes -= it.size
	}
}

// wake tells members that wait that there is something.
func (g *group) wake() {
	for s := range g.members {
		if s.idle && s.capacity() > 0 {
			s.signal()
		}
	}
}

// ask asks for as many events as the members can take.
func (g *group) ask() {
	if g.asked > 0 && time.Now().Before(g.until.Add(timeout)) || g.inbox == nil {
		return
	}
	capacity, most := 0, 0
	for s := range g.members {
		capacity += s.capacity()
		most += s.options.MaxInFlight
	}
	n := min(capacity-len(g.waiting), pullEvents)
	// A few at a time only when there is nothing else to do: each request has its price.
	if n <= 0 || g.bytes > pullBytes/2 || n < min(most/4, pullEvents/4) && len(g.waiting) > 0 {
		return
	}
	request := make([]byte, 0, 80)
	request = append(request, `{"batch":`...)
	request = strconv.AppendInt(request, int64(n), 10)
	request = append(request, `,"max_bytes":`...)
	request = strconv.AppendInt(request, pullBytes, 10)
	request = append(request, `,"expires":`...)
	request = strconv.AppendInt(request, int64(pullFor), 10)
	request = append(request, '}')
	if err := g.conn.PublishRequest(g.pullSubject(), g.inbox.Subject, request); err != nil {
		g.failAll(g.topic.engine.failedRequest("ask for events", err))
		return
	}
	g.asked, g.until = n, time.Now().Add(pullFor)
}

// pullSubject is where the server is asked for events.
func (g *group) pullSubject() string {
	return "$JS.API.CONSUMER.MSG.NEXT." + g.topic.stream + "." + g.consumer
}

// send says something about a delivery.
func (g *group) send(reply, what string) {
	if err := g.conn.Publish(reply, []byte(what)); err != nil && g.topic.engine.ctx.Err() == nil {
		g.failAll(g.topic.engine.failedRequest("acknowledge", err))
	}
}

// handOut hands what waits to a member: as much as it can take, and leaves others their share.
func (g *group) handOut(s *subscription) []stream.Delivery {
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
	now := time.Now()
	batch := make([]stream.Delivery, 0, n)
	size, taken := 0, 0
	for _, it := range g.waiting[:min(len(g.waiting), max(n, 0))] {
		if size += it.size; size > stream.MaxBatchBytes && len(batch) > 0 {
			break
		}
		taken++
		g.bytes -= it.size
		switch age := now.Sub(it.came); {
		case age > g.ackWait*3/4: // too late: it comes again
			delete(g.items, it.number)
			continue
		case age > g.ackWait/4:
			g.send(it.reply, "+WPI")
		}
		s.last++
		it.owner, it.tag = s, s.last
		s.items[it.tag] = it
		batch = append(batch, stream.Delivery{Event: it.event, Tag: it.tag, Attempt: it.attempt})
		it.event = nil
		g.begin(it, now)
	}
	g.waiting = slices.Delete(g.waiting, 0, taken)
	g.ask()
	return batch
}

// begin begins the time that a member has for an item.
func (g *group) begin(it *item, now time.Time) {
	it.deadline = now.Add(g.ackWait + grace)
	if len(g.deadlines) > 2*len(g.items)+pullEvents {
		g.deadlines = slices.DeleteFunc(g.deadlines, func(d deadline) bool { return !g.stands(d) })
	}
	g.deadlines = append(g.deadlines, deadline{it, it.deadline})
	if g.timer == nil {
		g.timer = time.AfterFunc(g.ackWait+grace, g.expire)
	}
}

// stands tells whether a deadline is still that of something that a member has.
func (g *group) stands(d deadline) bool {
	return g.items[d.number] == d.item && d.owner != nil && d.deadline.Equal(d.at)
}

// expire takes from members what they have had for too long; the server delivers it again.
func (g *group) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	i := 0
	for ; i < len(g.deadlines); i++ {
		d := g.deadlines[i]
		if !g.stands(d) {
			continue
		}
		if d.at.After(now) {
			break
		}
		g.drop(d.item)
	}
	g.deadlines = slices.Delete(g.deadlines, 0, i)
	g.timer = nil
	if len(g.deadlines) > 0 && len(g.members) > 0 {
		g.timer = time.AfterFunc(time.Until(g.deadlines[0].at), g.expire)
	}
	g.wake()
	g.ask()
}

// reply subjects of JetStream: $JS.ACK.<stream>.<consumer>.<attempt>.<number>.<number for the consumer>.<time>.<pending>, with
// more in front of the stream since 2.12 where there are domains, which there are none of here.
func parseReply(reply string) (number uint64, attempt int, ok bool) {
	fields := splitReply(reply)
	if len(fields) != 9 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(fields[5], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	a, err := strconv.Atoi(fields[4])
	return n, a, err == nil
}

// shut ends what a group without members does, and has the server deliver again what they had, in the order of the stream.
func (g *group) shut(ctx context.Context) error {
	g.mu.Lock()
	inbox := g.inbox
	g.inbox, g.asked = nil, 0
	g.waiting, g.bytes, g.deadlines = nil, 0, nil
	clear(g.items)
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	g.mu.Unlock()
	if inbox == nil {
		return nil
	}
	if err := inbox.Unsubscribe(); err != nil {
		return err
	}
	// The server does not deliver anything more once it has seen that.
	if err := g.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := g.giveBack(ctx); err != nil {
		return err
	}
	g.settled = true
	return nil
}
