package subscriber_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	micro "github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/mixpanel/service/migrations"
	"github.com/m3o/backend/mixpanel/subscriber"
	"github.com/m3o/backend/pkg/acceptance/sink"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/eventstest"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	jane     = "0190aaaa-0000-7000-8000-00000000000a"
	patience = time.Minute
)

// world is the service as it is put together, on a stream and a sink of its own.
type world struct {
	*service.Mixpanel
	stream stream.Stream
	sink   *sink.Sink
	// away is what Mixpanel answers instead of doing what it should.
	away atomic.Int64
}

func newWorld(t *testing.T, db *database.DB, topics ...string) *world {
	t.Helper()
	kept, err := sink.Open(sink.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	w := &world{stream: eventstest.Stream(t), sink: kept}
	handler := kept.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(rsp http.ResponseWriter, r *http.Request) {
		if code := int(w.away.Load()); code != 0 {
			rsp.WriteHeader(code)
			return
		}
		handler.ServeHTTP(rsp, r)
	}))
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, kept.Close())
	})
	bus, err := events.New(t.Context(), events.Config{DB: db, Stream: w.stream})
	require.NoError(t, err)
	settings := service.DefaultSettings()
	settings.Topics = topics
	transport := &http.Transport{}
	w.Mixpanel, err = service.New(service.Config{Settings: settings, StandIn: server.URL, DB: db, Letters: bus, Transport: transport})
	require.NoError(t, err)
	for _, topic := range w.Topics() {
		consumer, err := subscriber.Topic(topic, w)
		require.NoError(t, err)
		consumer.RetryAfter = 50 * time.Millisecond
		require.NoError(t, bus.Consume(consumer))
	}
	require.NoError(t, bus.Start())
	t.Cleanup(func() {
		require.NoError(t, bus.Stop())
		transport.CloseIdleConnections()
	})
	return w
}

// publish publishes an event as a newer service would, and returns its id.
func (w *world) publish(t *testing.T, topic, kind, payload string, at time.Time) string {
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	_, err := w.stream.PublishBatch(t.Context(), []*micro.Event{{Topic: topic, Payload: []byte(payload), Metadata: map[string]string{
		stream.IDKey: id, stream.TimeKey: at.UTC().Format(time.RFC3339Nano), "type": kind,
	}}})
	require.NoError(t, err)
	return id
}

func (w *world) status(t *testing.T, topic string) service.TopicStatus {
	t.Helper()
	status, err := w.Status(t.Context())
	require.NoError(t, err)
	return status.Topics[topic]
}

func each(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "mixpanel", migrations.FS, f)
}

// An event of a type, and one of a topic, that this build has never seen have their right names.
func TestAnEventOfTheFuture(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := newWorld(t, db, "customers", "newer")
		at := time.Date(2030, 1, 1, 0, 0, 0, 123_456_789, time.UTC)
		id := w.publish(t, "customers", "EventTypeOfTheFuture", `{"customer": {"id": "`+jane+`", "email": "tellnobody@example.com"},
			"of_the_future": {"planet": "Tell Nobody", "moons": 2, "status": "inhabited"}, "type": "EventTypeOfTheFuture"}`, at)
		other := w.publish(t, "newer", "EventTypeNew", `{}`, at)
		require.Eventually(t, func() bool { return w.sink.Counts().Events == 2 }, patience, 5*time.Millisecond)
		require.Equal(t, map[string]int{"customers_EventTypeOfTheFuture": 1, "newer_EventTypeNew": 1}, w.sink.Counts().Names)
		found, err := w.sink.Events(sink.Query{DistinctID: jane, Limit: 10})
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.JSONEq(t, `{"event": "customers_EventTypeOfTheFuture", "properties": {
			"$insert_id": "`+id+`", "distinct_id": "`+jane+`", "time": 1893456000123, "customer.id": "`+jane+`",
			"of_the_future.moons": 2, "of_the_future.status": "inhabited", "type": "EventTypeOfTheFuture"
		}}`, string(found[0]))
		found, err = w.sink.Events(sink.Query{Name: "newer_EventTypeNew", Limit: 10})
		require.NoError(t, err)
		var e sink.Event
		require.NoError(t, json.Unmarshal(found[0], &e))
		require.Equal(t, other, e.Properties["$insert_id"])
		require.Eventually(t, func() bool { return w.status(t, "newer").Forwarded == 1 }, patience, 5*time.Millisecond)
	})
}

// Those that Mixpanel refuses are dead letters, and all the others are there, each sent once.
func TestSomeAreRefused(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := newWorld(t, db, "customers")
		const all, bad = 200, 3
		batch := make([]*micro.Event, all)
		for i := range batch {
			at := time.Date(2030, 1, 1, 0, 0, i, 0, time.UTC)
			if i%(all/bad) == 20 {
				at = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			batch[i] = &micro.Event{Topic: "customers", Payload: []byte("{}"), Metadata: map[string]string{
				stream.TimeKey: at.Format(time.RFC3339Nano), "type": "EventTypeLogin",
			}}
		}
		_, err := w.stream.PublishBatch(t.Context(), batch)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			s := w.status(t, "customers")
			return s.Forwarded == all-bad && s.Dead == bad
		}, patience, 5*time.Millisecond)
		require.Equal(t, sink.Counts{Events: all - bad, Names: map[string]int{"customers_EventTypeLogin": all - bad}}, w.sink.Counts())
		require.Zero(t, w.status(t, "customers").Waiting)
	})
}

// While Mixpanel is away nothing is lost and nothing is given up; each request and each event counts once.
func TestMixpanelIsAway(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := newWorld(t, db, "customers", "requests")
		w.away.Store(503)
		ids := make(map[string]bool)
		for i := range 20 {
			ids[w.publish(t, "customers", "EventTypeLogin", `{"customer": {"id": "`+jane+`"}}`, time.Now())] = true
			requests := make([]string, 10)
			for j := range requests {
				id := uuid.Must(uuid.NewV7()).String()
				ids[id] = true
				requests[j] = fmt.Sprintf(`{"id": "%s", "customer_id": "%s", "status": 200, "units": %d}`, id, jane, i)
			}
			payload := `{"requests": [` + strings.Join(requests, ",") + `]}`
			w.publish(t, "requests", "EventTypeRequests", payload, time.Now())
			w.publish(t, "requests", "EventTypeRequests", payload, time.Now()) // by somebody who did not know that it was
		}
		require.Eventually(t, func() bool { return w.status(t, "customers").Waiting > 0 && w.status(t, "requests").Waiting > 0 },
			patience, 5*time.Millisecond, "it was tried")
		require.NoError(t, w.Check(t.Context()), "that it is away is not our fault")
		w.away.Store(401)
		require.Eventually(t, func() bool { return w.Check(t.Context()) != nil }, patience, 5*time.Millisecond)
		w.away.Store(0)
		require.Eventually(t, func() bool {
			return w.status(t, "customers").Forwarded == 20 && w.status(t, "requests").Forwarded == 400
		}, patience, 5*time.Millisecond)
		found, err := w.sink.Events(sink.Query{DistinctID: jane, Limit: 1000})
		require.NoError(t, err)
		for _, text := range found {
			var e sink.Event
			require.NoError(t, json.Unmarshal(text, &e))
			id := e.Properties["$insert_id"].(string)
			require.True(t, ids[id])
			delete(ids, id)
		}
		require.Empty(t, ids)
		require.Zero(t, w.status(t, "customers").Dead+w.status(t, "requests").Dead)
		require.NoError(t, w.Check(t.Context()))
	})
}
