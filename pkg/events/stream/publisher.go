package stream

import (
	"sync"

	"github.com/micro/micro/v3/service/events"
)

// Publisher publishes single events in batches: while one batch of a topic is on its way, whatever else is published
// there waits and is the next. Whoever is alone is not kept waiting, and nobody needs a goroutine: a batch is sent by one of
// those whose event is in it.
type Publisher struct {
	publish func(batch []*events.Event) error

	mu     sync.Mutex
	topics map[string]*queue
}

// queue has what waits while a batch of its topic is on its way. There is none for a topic where nothing is.
type queue struct{ waiting []*publication }

// publication is an event that is being published.
type publication struct {
	event *events.Event
	err   error
	// turn tells whether it is to send the next batch; else it has been published, or not.
	turn chan bool
}

// NewPublisher returns a Publisher of what publishes batches of one topic.
func NewPublisher(publish func(batch []*events.Event) error) *Publisher {
	return &Publisher{publish: publish, topics: make(map[string]*queue)}
}

// Publish publishes an event that is prepared. It returns when the event is in the stream, or the error of its batch.
func (p *Publisher) Publish(e *events.Event) error {
	own := &publication{event: e}
	p.mu.Lock()
	q, busy := p.topics[e.Topic]
	if busy {
		own.turn = make(chan bool, 1)
		q.waiting = append(q.waiting, own)
		p.mu.Unlock()
		if !<-own.turn {
			return own.err
		}
		p.mu.Lock()
	} else {
		q = new(queue)
		p.topics[e.Topic] = q
		q.waiting = append(q.waiting, own)
	}
	batch := q.take()
	p.mu.Unlock()

	list := make([]*events.Event, len(batch))
	for i, b := range batch {
		list[i] = b.event
	}
	err := p.publish(list)
	for _, b := range batch[1:] { // the first is our own
		b.err = err
		b.turn <- false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(q.waiting) > 0 {
		q.waiting[0].turn <- true
	} else {
		delete(p.topics, e.Topic)
	}
	return err
}

// take takes the next batch, at least one.
func (q *queue) take() []*publication {
	n, size := 0, 0
	for n < len(q.waiting) && n < MaxBatch {
		size += Size(q.waiting[n].event)
		if n > 0 && size > MaxBatchBytes {
			break
		}
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}
