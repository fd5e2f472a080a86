package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/events/stream"
)

// overhead is what a message takes on the disk beside its subject and its data.
const overhead = 30

// PublishBatch implements stream.Stream.
func (e *Engine) PublishBatch(ctx context.Context, batch []*events.Event) (string, error) {
	if err := stream.PrepareAll(batch); err != nil {
		return "", err
	}
	return e.publish(ctx, batch)
}

// publish publishes events that are prepared, those of each topic together.
func (e *Engine) publish(ctx context.Context, batch []*events.Event) (string, error) {
	if err := e.usable(ctx); err != nil {
		return "", err
	}
	for len(batch) > 0 {
		name, same, others := batch[0].Topic, batch, []*events.Event(nil)
		for i, event := range batch {
			if event.Topic != name { // rare
				same, others = split(batch, i)
				break
			}
		}
		t, err := e.topic(ctx, name)
		if err != nil {
			return "", err
		}
		if err := t.publish(ctx, same); err != nil {
			return "", err
		}
		batch = others
	}
	return e.epoch, nil
}

// split splits a batch into the events of the topic of its first one, which are the first i and maybe more, and the others.
func split(batch []*events.Event, i int) (same, others []*events.Event) {
	same = append(same, batch[:i]...)
	for _, event := range batch[i:] {
		if event.Topic == batch[0].Topic {
			same = append(same, event)
		} else {
			others = append(others, event)
		}
	}
	return same, others
}

// usable says whether the engine works and somebody waits for what it does.
func (e *Engine) usable(ctx context.Context) error {
	switch {
	case e.ctx.Err() != nil:
		return stream.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if err := e.Err(); err != nil {
		return &stream.PassingError{Detail: "the event stream is starting again: try again", Cause: err}
	}
	return nil
}

// publish publishes events of the topic. JetStream takes what comes over one connection in its order, so that the answer to
// the last message, which has its sequence number, tells of all.
func (t *topic) publish(ctx context.Context, batch []*events.Event) error {
	subject := subjectOf(t.stream)
	messages := make([][]byte, len(batch))
	size := int64(0)
	for i, event := range batch {
		m := stream.ToProto(event)
		m.Topic = "" // it is the stream's
		var err error
		if messages[i], err = proto.Marshal(m); err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		size += int64(len(messages[i]) + len(subject) + overhead)
	}
	until := time.Now().Add(timeout)

	t.publishing.Lock()
	defer t.publishing.Unlock()
	if err := t.engine.usable(ctx); err != nil { // by now
		return err
	}
	if !time.Now().Before(until) {
		return context.DeadlineExceeded
	}
	if err := t.room(ctx, until, size); err != nil {
		return err
	}
	t.known = false // until it is certain how this ends
	conn := t.engine.publishing
	rest := messages[:len(messages)-1]
	for _, data := range rest {
		if err := conn.Publish(subject, data); err != nil {
			return t.engine.failedRequest("publish", err)
		}
	}
	answer, err := t.ask(ctx, until, subject, messages[len(rest)])
	if err != nil {
		return t.engine.failedRequest("publish", err)
	}
	last, err := acknowledged(answer)
	if err != nil {
		return t.engine.failedRequest("publish", err)
	}
	if want := t.last + uint64(len(messages)); last != want {
		return t.engine.failedRequest("publish", fmt.Errorf("the last event of a batch has number %d: expected %d", last, want))
	}
	t.known, t.last, t.bytes = true, last, t.bytes+size
	return nil
}

// ask publishes a message and waits for the answer, which takes fewer goroutines than a Request of the connection, and no
// context of its own.
func (t *topic) ask(ctx context.Context, until time.Time, subject string, data []byte) (*nats.Msg, error) {
	conn := t.engine.publishing
	if t.answers == nil {
		answers, inbox := make(chan *nats.Msg, 16), conn.NewInbox()
		if _, err := conn.ChanSubscribe(inbox+".*", answers); err != nil {
			return nil, err
		}
		t.answers, t.inbox, t.late = answers, inbox, time.NewTimer(timeout)
	}
	t.late.Reset(time.Until(until))
	defer t.late.Stop()
	t.asked++
	reply := t.inbox + "." + strconv.FormatUint(t.asked, 10)
	if err := conn.PublishRequest(subject, reply, data); err != nil {
		return nil, err
	}
	for {
		select {
		case answer := <-t.answers:
			if answer.Subject == reply { // and not to somebody who has given up waiting
				return answer, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.late.C:
			return nil, context.DeadlineExceeded
		}
	}
}

// seqField is what an answer that says where the event is has before its number; one that says an error has none.
var seqField = []byte(`"seq":`)

// acknowledged reads the sequence number of the event that the answer is about.
func acknowledged(answer *nats.Msg) (uint64, error) {
	if i := bytes.Index(answer.Data, seqField); i >= 0 { // without a parser, which takes a tenth of the whole
		rest := answer.Data[i+len(seqField):]
		if end := bytes.IndexAny(rest, ",}"); end > 0 {
			if n, err := strconv.ParseUint(string(rest[:end]), 10, 64); err == nil && n > 0 {
				return n, nil
			}
		}
	}
	if status := answer.Header.Get("Status"); status != "" {
		return 0, errors.New(strings.TrimSpace(status + " " + answer.Header.Get("Description")))
	}
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if ack.Error != nil {
		return 0, errors.New(ack.Error.Description)
	}
	return ack.Seq, nil
}

// room makes sure that so many bytes more may be published.
func (t *topic) room(ctx context.Context, until time.Time, size int64) error {
	if err := t.engine.space.check(); err != nil {
		return err
	}
	shrunk := t.shrunk.Swap(false)
	if t.known && !shrunk && t.bytes+size <= t.engine.config.MaxBytes {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if shrunk || !t.known {
		t.known = false
		state, err := t.info(ctx)
		if err != nil {
			return t.engine.failedRequest("look at a topic", err)
		}
		t.note(state)
	}
	bound := t.engine.config.MaxBytes
	if t.bytes+size <= bound {
		return nil
	}
	report, err := t.sweep(ctx, size)
	if err != nil {
		return t.engine.failedRequest("make room in a topic", err)
	}
	t.note(report.state)
	if t.bytes+size <= bound {
		return nil
	}
	return &stream.PassingError{Detail: fmt.Sprintf("the topic %s is full: it takes events again when the group %s, "+
		"which is %d events behind, has acknowledged some", t.name, report.slowest, report.behind)}
}
