package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// The keys of the metadata of JetStream's streams and consumers.
const (
	nameKey  = "name"  // the topic's or the group's
	seenKey  = "seen"  // when somebody of the group was last known to be there
	lonerKey = "loner" // on a group that ends with its only member
)

// topic is a topic: a stream of JetStream.
type topic struct {
	engine *Engine
	name   string
	stream string // JetStream's name of it

	// publishing is held while something is published here, so that events of one batch stay together, and their order
	// tells whether all are there.
	publishing sync.Mutex
	known      bool   // whether last and bytes are right
	last       uint64 // the sequence number of the last event
	bytes      int64
	answers    chan *nats.Msg // to what was published, to inbox and below
	inbox      string
	late       *time.Timer // ends the wait for one
	asked      uint64      // how often was waited for one
	shrunk     atomic.Bool // whether something was removed since bytes was right

	// joining is held while somebody joins a group, and while groups are removed.
	joining sync.Mutex
	mu      sync.Mutex
	groups  map[string]*group
}

func (e *Engine) newTopic(name string) *topic {
	return &topic{engine: e, name: name, stream: encode(name), groups: make(map[string]*group)}
}

// config is the topic as a stream of JetStream.
func (t *topic) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: t.stream, Subjects: []string{subjectOf(t.stream)}, Metadata: map[string]string{nameKey: t.name},
		Storage: jetstream.FileStorage, AllowDirect: true, Discard: jetstream.DiscardNew,
		// The bound is kept in publish, for whole batches. This is for the case that it is wrong.
		MaxBytes: t.engine.config.MaxBytes + 2*stream.MaxBatchBytes, MaxConsumers: -1,
		Duplicates: 100 * time.Millisecond, // nothing is published with an id of JetStream's
	}
}

// find returns a topic; nil when there is none.
func (e *Engine) find(name string) *topic {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.topics[name]
}

// topic returns a topic, which it makes if there is none.
func (e *Engine) topic(ctx context.Context, name string) (*topic, error) {
	if t := e.find(name); t != nil {
		return t, nil
	}
	e.making.Lock()
	defer e.making.Unlock()
	if t := e.find(name); t != nil {
		return t, nil
	}
	if len(e.all()) >= stream.MaxTopics {
		return nil, kinds.TooMany("topic: there are %d already, which is as many as there may be", stream.MaxTopics)
	}
	if err := e.space.check(); err != nil {
		return nil, err
	}
	t := e.newTopic(name)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := e.js.CreateStream(ctx, t.config())
	if err != nil {
		return nil, e.failedRequest(fmt.Sprintf("make the topic %s", name), err)
	}
	t.note(s.CachedInfo().State)
	e.mu.Lock()
	e.topics[name] = t
	e.mu.Unlock()
	return t, nil
}

// failedRequest is the error of a request to the server.
func (e *Engine) failedRequest(what string, err error) error {
	if e.ctx.Err() != nil {
		return stream.ErrClosed
	}
	e.check()
	if failure := e.Err(); failure != nil {
		err = failure
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return &stream.PassingError{Detail: "the event stream cannot do it at the moment: try again", Cause: fmt.Errorf("%s: %w", what, err)}
}

// note keeps what is known of the stream. Nobody may publish meanwhile.
func (t *topic) note(s jetstream.StreamState) {
	t.known, t.last, t.bytes = true, s.LastSeq, int64(s.Bytes)
}

// info asks how the stream is.
func (t *topic) info(ctx context.Context) (jetstream.StreamState, error) {
	s, err := t.engine.js.Stream(ctx, t.stream)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return s.CachedInfo().State, nil
}

// group returns a group that is known in this process; nil if it is not.
func (t *topic) group(name string) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.groups[name]
}

func (t *topic) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.groups, name)
}

// breakAll ends all subscriptions.
func (t *topic) breakAll() {
	t.mu.Lock()
	groups := make([]*group, 0, len(t.groups))
	for _, g := range t.groups {
		groups = append(groups, g)
	}
	t.mu.Unlock()
	for _, g := range groups {
		g.breakAll(stream.ErrClosed)
	}
}

// removeLoners removes the groups whose only member ended with the process.
func (t *topic) removeLoners(ctx context.Context) error {
	infos, err := t.consumers(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if info.Config.Metadata[lonerKey] == "" {
			continue
		}
		if err := t.engine.js.DeleteConsumer(ctx, t.stream, info.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return nil
}

// consumers are all groups of the topic.
func (t *topic) consumers(ctx context.Context) ([]*jetstream.ConsumerInfo, error) {
	s, err := t.engine.js.Stream(ctx, t.stream)
	if err != nil {
		return nil, err
	}
	var all []*jetstream.ConsumerInfo
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		all = append(all, info)
	}
	return all, list.Err()
}

// seenNow is the metadata of a group of which somebody is there.
func seenNow(name string, loner bool, now time.Time) map[string]string {
	m := map[string]string{nameKey: name, seenKey: now.UTC().Format(time.RFC3339)}
	if loner {
		m[lonerKey] = "true"
	}
	return m
}
