package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/internal/casetest"
)

// Cases are all cases of a Stream, without those of Micro's interface.
func Cases() []Case {
	return append(deliveryCases(),
		Case{"fills in ids and times", fillsIn},
		Case{"keeps ids, times and metadata", keeps},
		Case{"refuses what is wrong with an event", refusesEvents},
		Case{"refuses what is wrong with a subscription", refusesOptions},
		Case{"publishes to many topics at once", manyTopics},
		Case{"keeps each publisher's order", publishers},
		Case{"tells topics and groups apart", tellsApart},
		Case{"takes large events", large},
		Case{"reads what it has", reads},
		Case{"writes nothing but what is published", writes},
		Case{"says the same epoch", epoch},
	)
}

func fillsIn(ctx context.Context, s stream.Stream) error {
	topic := newTopic("fills in")
	shared := map[string]string{"key": "value"}
	batch := []*events.Event{{Topic: topic, Metadata: shared}, {Topic: topic, Metadata: shared}}
	if _, err := s.PublishBatch(ctx, batch); err != nil {
		return err
	}
	for _, e := range batch {
		id, err := uuid.Parse(e.ID)
		if err := casetest.First(err,
			casetest.Expect(id.Version() == 7, "the id %s is of version %d", e.ID, id.Version()),
			casetest.Expect(e.Metadata[stream.IDKey] == e.ID, "the metadata has the id %s", e.Metadata[stream.IDKey]),
			casetest.Expect(time.Since(e.Timestamp).Abs() < time.Minute, "time %s", e.Timestamp),
			casetest.Expect(e.Metadata[stream.TimeKey] == e.Timestamp.Format(time.RFC3339Nano), "the metadata has the time %s", e.Metadata[stream.TimeKey]),
		); err != nil {
			return err
		}
	}
	return casetest.First(casetest.Expect(len(shared) == 1, "the metadata that was given is changed"),
		casetest.Expect(batch[0].ID != batch[1].ID, "two events have one id"))
}

func keeps(ctx context.Context, s stream.Stream) error {
	topic, at := newTopic("keeps"), time.Date(2001, 2, 3, 4, 5, 6, 123456789, time.FixedZone("", 3600))
	given := []*events.Event{
		{Topic: topic, ID: uuid.NewString(), Timestamp: at, Payload: []byte{0, 255}},
		{Topic: topic, Metadata: map[string]string{
			stream.IDKey: uuid.NewString(), stream.TimeKey: at.Format(time.RFC3339Nano), "": "empty", "emptY": "", "ключ": "значение",
		}},
		{Topic: topic, Timestamp: time.Unix(0, -1)}, // before 1970
	}
	if _, err := s.PublishBatch(ctx, given); err != nil {
		return err
	}
	sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "g"})
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	all, err := receive(ctx, sub, len(given))
	if err != nil {
		return err
	}
	read, err := s.Read(topic)
	if err := casetest.First(err, casetest.Expect(len(read) == len(given), "%d events are read", len(read))); err != nil {
		return err
	}
	for i, want := range given {
		for _, got := range []*events.Event{all[i].Event, read[i]} {
			if err := sameEvent(got, want); err != nil {
				return fmt.Errorf("event %d: %w", i, err)
			}
		}
	}
	return nil
}

func sameEvent(got, want *events.Event) error {
	if err := casetest.First(
		casetest.Expect(got.ID == want.ID, "id %s: expected %s", got.ID, want.ID),
		casetest.Expect(got.Topic == want.Topic, "topic %s: expected %s", got.Topic, want.Topic),
		casetest.Expect(got.Timestamp.Equal(want.Timestamp), "time %s: expected %s", got.Timestamp, want.Timestamp),
		casetest.Expect(got.Timestamp.Location() == time.UTC, "time %s: expected UTC", got.Timestamp),
		casetest.Expect(bytes.Equal(got.Payload, want.Payload), "payload %q: expected %q", got.Payload, want.Payload),
		casetest.Expect(len(got.Metadata) == len(want.Metadata), "metadata %v: expected %v", got.Metadata, want.Metadata),
	); err != nil {
		return err
	}
	for key, value := range want.Metadata {
		if found, ok := got.Metadata[key]; !ok || found != value {
			return fmt.Errorf("metadata %v: expected %v", got.Metadata, want.Metadata)
		}
	}
	return nil
}

func refusesEvents(ctx context.Context, s stream.Stream) error {
	topic := newTopic("refuses")
	big := make([]byte, stream.MaxEvent)
	tooMany := numbered(topic, 0, stream.MaxBatch+1)
	tooLarge := numbered(topic, 0, 9)
	for _, e := range tooLarge {
		e.Payload = big
	}
	for name, c := range map[string]struct {
		batch []*events.Event
		field string
	}{
		"no topic":       {[]*events.Event{{}}, "events[0].topic"},
		"second":         {[]*events.Event{{Topic: topic}, {Topic: "a\nb"}}, "events[1].topic"},
		"long topic":     {[]*events.Event{{Topic: strings.Repeat("x", stream.MaxTopic+1)}}, "events[0].topic"},
		"broken topic":   {[]*events.Event{{Topic: "\xff"}}, "events[0].topic"},
		"no event":       {[]*events.Event{nil}, "events[0]"},
		"id":             {[]*events.Event{{Topic: topic, ID: "7"}}, "events[0].metadata.id"},
		"id in metadata": {[]*events.Event{{Topic: topic, Metadata: map[string]string{stream.IDKey: "{" + uuid.NewString() + "}"}}}, "events[0].metadata.id"},
		"time":           {[]*events.Event{{Topic: topic, Metadata: map[string]string{stream.TimeKey: "today"}}}, "events[0].metadata.time"},
		"year":           {[]*events.Event{{Topic: topic, Timestamp: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}}, "events[0].metadata.time"},
		"metadata":       {[]*events.Event{{Topic: topic, Metadata: map[string]string{"x": "\xff"}}}, "events[0].metadata"},
		"too large":      {[]*events.Event{{Topic: topic, Payload: big, Metadata: map[string]string{"x": ""}}}, "events[0].payload"},
		"too many":       {tooMany, "events"},
		"too many bytes": {tooLarge, "events"},
	} {
		_, err := s.PublishBatch(ctx, c.batch)
		e, ok := errors.AsType[*kinds.Error](err)
		if !ok || e.Field != c.field || !kinds.Permanent(err) {
			return casetest.Expect(false, "%s: error %v: expected one about %s", name, err, c.field)
		}
	}
	read, err := s.Read(topic)
	return casetest.First(err, casetest.Expect(len(read) == 0, "%d events are in the stream", len(read)))
}

func refusesOptions(ctx context.Context, s stream.Stream) error {
	topic := newTopic("refuses")
	for field, o := range map[string]stream.Options{
		"topic":         {Group: "g"},
		"group":         {Topic: topic, Group: "\x00"},
		"ack_wait":      {Topic: topic, Group: "g", AckWait: time.Millisecond},
		"max_in_flight": {Topic: topic, Group: "g", MaxInFlight: stream.MaxInFlight + 1},
	} {
		_, err := s.Subscribe(ctx, o)
		e, ok := errors.AsType[*kinds.Error](err)
		if !ok || e.Field != field {
			return casetest.Expect(false, "error %v: expected one about %s", err, field)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Subscribe(ended, stream.Options{Topic: topic, Group: "g"}); !errors.Is(err, context.Canceled) {
		return casetest.Expect(false, "error %v: expected that the context has ended", err)
	}
	if _, err := s.PublishBatch(ended, numbered(topic, 0, 1)); !errors.Is(err, context.Canceled) {
		return casetest.Expect(false, "error %v: expected that the context has ended", err)
	}
	_, err := s.Read("\x00")
	return casetest.Expect(kinds.KindOf(err) == kinds.KindInvalid, "read: error %v", err)
}

func manyTopics(ctx context.Context, s stream.Stream) error {
	const n, each = 20, 5
	topics := make([]string, n)
	var batch []*events.Event
	for i := range topics {
		topics[i] = newTopic("many")
	}
	for i := range each { // in turns
		for _, topic := range topics {
			batch = append(batch, numbered(topic, i, 1)...)
		}
	}
	if _, err := s.PublishBatch(ctx, batch); err != nil {
		return err
	}
	for _, topic := range topics {
		sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "g"})
		if err != nil {
			return err
		}
		all, err := receive(ctx, sub, each)
		if err := casetest.First(err, inOrder(all, 0, each), sub.Close()); err != nil {
			return err
		}
	}
	return nil
}

func publishers(ctx context.Context, s stream.Stream) error {
	const callers, each = 16, 50
	topic := newTopic("publishers")
	failed := make(chan error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				if err := s.Publish(topic, fmt.Appendf(nil, "%d %d", caller, i)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return err
	}
	sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "g"})
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	all, err := receive(ctx, sub, callers*each)
	if err != nil {
		return err
	}
	var next [callers]int
	for _, d := range all {
		var caller, i int
		if _, err := fmt.Sscan(string(d.Payload), &caller, &i); err != nil {
			return err
		}
		if i != next[caller] {
			return fmt.Errorf("caller %d's event %d comes: expected %d", caller, i, next[caller])
		}
		next[caller]++
	}
	return nil
}

func tellsApart(ctx context.Context, s stream.Stream) error {
	base := newTopic("apart")
	names := []string{base, base + ".", base + ".x", base + " >", base + " *", strings.ToUpper(base), base + "/../x", base + "ä", "p-" + base}
	for i, topic := range names {
		if err := publish(ctx, s, topic, i, 1); err != nil {
			return err
		}
	}
	for i, topic := range names {
		for _, group := range []string{"g", "G", "g.>", "g *"} {
			sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: group})
			if err != nil {
				return err
			}
			all, err := receive(ctx, sub, 1)
			if err := casetest.First(err, inOrder(all, i, 1), sub.Close()); err != nil {
				return fmt.Errorf("topic %s, group %s: %w", topic, group, err)
			}
		}
	}
	return nil
}

func large(ctx context.Context, s stream.Stream) error {
	const n = 20
	topic := newTopic("large")
	payload := bytes.Repeat([]byte("x"), stream.MaxEvent-2)
	for range n {
		if err := s.Publish(topic, payload, events.WithMetadata(map[string]string{"k": "v"})); err != nil {
			return err
		}
	}
	sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "g"})
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // of no interest here
	got := 0
	for got < n {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		size := 0
		for _, d := range batch {
			size += stream.Size(d.Event)
			if !bytes.Equal(d.Payload, payload) {
				return errors.New("another payload")
			}
		}
		got += len(batch)
		if err := casetest.First(casetest.Expect(size <= stream.MaxBatchBytes, "a batch of %d bytes", size), sub.Ack(tagsOf(batch)...)); err != nil {
			return err
		}
	}
	read, err := s.Read(topic)
	return casetest.First(err, casetest.Expect(len(read) > 0 && len(read)*stream.MaxEvent <= stream.MaxBatchBytes, "%d events are read at once", len(read)))
}

func reads(ctx context.Context, s stream.Stream) error {
	const n = 1234
	topic := newTopic("reads")
	none, err := s.Read(topic)
	if err := casetest.First(err, casetest.Expect(len(none) == 0, "%d events of a topic that there is not", len(none))); err != nil {
		return err
	}
	if err := publish(ctx, s, topic, 0, n); err != nil {
		return err
	}
	for _, c := range []struct{ limit, offset, want int }{
		{0, 0, stream.DefaultRead}, {1, 0, 1}, {10, 7, 10}, {1000, 500, n - 500}, {5000, 0, stream.MaxBatch}, {0, n - 1, 1}, {0, n, 0}, {1, 1 << 40, 0},
	} {
		var opts []events.ReadOption
		if c.limit > 0 {
			opts = append(opts, events.ReadLimit(uint(c.limit)))
		}
		found, err := s.Read(topic, append(opts, events.ReadOffset(uint(c.offset)))...)
		if err := casetest.First(err, casetest.Expect(len(found) == c.want, "%d events with limit %d and offset %d: expected %d", len(found), c.limit, c.offset, c.want)); err != nil {
			return err
		}
		for i, e := range found {
			if want := fmt.Append(nil, c.offset+i); !bytes.Equal(e.Payload, want) {
				return fmt.Errorf("event %s is read: expected %s", e.Payload, want)
			}
		}
	}
	return nil
}

func writes(_ context.Context, s stream.Stream) error {
	return casetest.Expect(s.Write(&events.Event{Topic: newTopic("writes")}) != nil, "no error")
}

func epoch(ctx context.Context, s stream.Stream) error {
	one, err := s.PublishBatch(ctx, numbered(newTopic("epoch"), 0, 1))
	if err != nil {
		return err
	}
	other, err := s.PublishBatch(ctx, nil) // asks for it
	return casetest.First(err, casetest.Expect(one != "" && one == other, "epochs %q and %q", one, other))
}
