package service_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/mixpanel/service/migrations"
	"github.com/m3o/backend/pkg/acceptance/sink"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/events"
)

const (
	jane = "0190aaaa-0000-7000-8000-00000000000a"
	john = "0190bbbb-0000-7000-8000-00000000000b"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// mixpanel is an HTTP server that behaves as Mixpanel does: the sink, with faults before it.
type mixpanel struct {
	*sink.Sink
	url string

	mu       sync.Mutex
	requests []*http.Request
	fault    func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func newMixpanel(t testing.TB) *mixpanel {
	t.Helper()
	s, err := sink.Open(sink.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	m := &mixpanel{Sink: s}
	handler := s.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.requests = append(m.requests, r)
		fault := m.fault
		m.mu.Unlock()
		if fault != nil {
			fault(w, r, handler)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	m.url = server.URL
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, s.Close())
	})
	return m
}

// fail has requests answered otherwise; as they should be when nil.
func (m *mixpanel) fail(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// answering is a fault that is nothing but a code.
func answering(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(code) }
}

// asked returns the requests so far.
func (m *mixpanel) asked() []*http.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// letters knows of none.
type letters struct{}

func (letters) Letters(context.Context, string) (waiting, dead int64, err error) { return 0, 0, nil }

// lines is a log without times.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
			return slog.Attr{} // of the line, not of the event
		}
		return a
	}}))
}

// world is a core that sends to a server of the test's, with its log.
type world struct {
	*service.Mixpanel
	db  *database.DB
	log *lines
}

// newWorld makes one; the configuration is changed before.
func newWorld(t testing.TB, db *database.DB, change func(*service.Config)) *world {
	t.Helper()
	w := &world{db: db, log: &lines{}}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg := service.Config{
		Settings: service.DefaultSettings(), DB: db, Letters: letters{}, Log: w.log.logger(), Transport: transport,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	w.Mixpanel, err = service.New(cfg)
	require.NoError(t, err)
	return w
}

// to has events sent to a server as if it were Mixpanel.
func to(m *mixpanel) func(*service.Config) {
	return func(cfg *service.Config) { cfg.Settings.APIBase, cfg.Settings.Token = m.url, "abcdef" }
}

// forward does what the consumer does.
func (w *world) forward(t testing.TB, topic string, batch ...*events.Event) error {
	t.Helper()
	return w.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		return w.Forward(ctx, tx, topic, batch)
	})
}

func (w *world) status(t testing.TB, topic string) service.TopicStatus {
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

func open(t testing.TB) *database.DB {
	t.Helper()
	return databasetest.Open(t, "mixpanel", migrations.FS)
}

// happened is an event about Jane.
func happened(topic, kind, payload string) *events.Event {
	return &events.Event{
		ID: uuid.Must(uuid.NewV7()), Topic: topic, Type: kind, Time: time.Date(2030, 1, 1, 0, 0, 0, 123_456_789, time.UTC),
		Cause: "cause", Aggregate: jane, Sequence: 1, Payload: []byte(payload),
	}
}
