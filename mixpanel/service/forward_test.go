package service_test

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/acceptance/sink"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

func TestForward(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		m, registry := newMixpanel(t), prometheus.NewRegistry()
		w := newWorld(t, db, func(cfg *service.Config) {
			to(m)(cfg)
			cfg.Settings.Ignore, cfg.Metrics = []string{"customers_EventTypeTokenRefresh"}, registry
			cfg.Clock = func() time.Time { return time.Date(2030, 1, 1, 0, 0, 5, 123_456_000, time.UTC) }
		})
		created := happened("customers", "EventTypeCreated", `{"customer": {"id": "`+jane+`", "email": "tellnobody@example.com"}}`)
		newest := happened("customers", "EventTypeOfTheFuture", `{"customer": {"id": "`+jane+`"}}`)
		newest.Time = newest.Time.Add(time.Second)
		require.NoError(t, w.forward(t, "customers", created, newest, happened("customers", "EventTypeTokenRefresh", `{}`)))
		require.Equal(t, sink.Counts{Events: 2, Names: map[string]int{"customers_EventTypeCreated": 1, "customers_EventTypeOfTheFuture": 1}}, m.Counts())
		sent, err := m.Events(sink.Query{Name: "customers_EventTypeCreated", DistinctID: jane, Limit: 10})
		require.NoError(t, err)
		require.Len(t, sent, 1)
		require.NotContains(t, string(sent[0]), "tellnobody")
		var e sink.Event
		require.NoError(t, json.Unmarshal(sent[0], &e))
		require.Equal(t, created.ID.String(), e.Properties["$insert_id"])

		want := service.TopicStatus{Forwarded: 2, Ignored: 1, LastEvent: newest.Time.Truncate(time.Microsecond), Lag: 4 * time.Second}
		require.Equal(t, want, w.status(t, "customers"))
		require.Equal(t, service.TopicStatus{}, w.status(t, "usage"))
		require.NoError(t, w.forward(t, "customers", happened("customers", "EventTypeLogin", `{}`)))
		want.Forwarded++
		require.Equal(t, want, w.status(t, "customers"), "an older one does not count as the last")
		require.NoError(t, w.forward(t, "gone", happened("gone", "EventTypeGone", `{}`)))
		status, err := w.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, status.Topics, 4, "of those that are configured")
		require.InDelta(t, 3, testutil.ToFloat64(counterOf(t, registry, "forwarded")), 0)
	})
}

// counterOf is the counter of what has become of events of customers.
func counterOf(t *testing.T, registry *prometheus.Registry, result string) prometheus.Collector {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "found"})
	for _, f := range families {
		for _, metric := range f.Metric {
			if f.GetName() == "mixpanel_events_total" && metric.Label[0].GetValue() == result && metric.Label[1].GetValue() == "customers" {
				g.Set(metric.Counter.GetValue())
			}
		}
	}
	return g
}

// What is undone with its transaction is counted when it is done again, and not before.
func TestCountedWithTheTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		m := newMixpanel(t)
		w := newWorld(t, db, to(m))
		batch, failure := some(2), stderrors.New("undone")
		err := db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			require.NoError(t, w.Forward(ctx, tx, "customers", batch))
			return failure
		})
		require.ErrorIs(t, err, failure)
		require.Zero(t, w.status(t, "customers").Forwarded)
		require.NoError(t, w.forward(t, "customers", batch...))
		require.EqualValues(t, 2, w.status(t, "customers").Forwarded)
		require.Equal(t, 2, m.Counts().Events)
	})
}

// Without a project and without a stand-in it is only told what would be sent.
func TestWithoutAProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open(t), func(cfg *service.Config) { cfg.Settings.Ignore = []string{"customers_EventTypeLogin"} })
	id := uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")
	require.NoError(t, w.forward(t, "customers",
		&events.Event{
			ID: id, Topic: "customers", Type: "EventTypeCreated", Time: time.Date(2030, 1, 1, 1, 0, 0, 123_456_789, time.FixedZone("east", 3600)),
			Cause: "tellnobody", Aggregate: "tellnobody", Payload: []byte(`{"customer": {"email": "tellnobody@example.com"}}`),
		},
		&events.Event{ID: id, Topic: "customers", Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Payload: []byte("no JSON")},
		happened("customers", "EventTypeLogin", `{}`),
	))
	require.Equal(t, `level=INFO msg="would forward" event=customers_EventTypeCreated id=0190aaaa-0000-7000-8000-00000000000a time=2030-01-01T00:00:00.123456789Z
level=INFO msg="would forward" event=customers_EventTypeUnknown id=0190aaaa-0000-7000-8000-00000000000a time=2030-01-01T00:00:00Z
`, w.log.String())
	require.EqualValues(t, 3, w.status(t, "customers").Ignored)
	status, err := w.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "log", status.Destination)
	require.False(t, status.Refused)
}
