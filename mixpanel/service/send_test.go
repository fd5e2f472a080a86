package service_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/acceptance/sink"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
)

// some are events of one name.
func some(n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = happened("customers", "EventTypeLogin", `{"customer": {"id": "`+jane+`"}}`)
	}
	return batch
}

func TestBatches(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), func(cfg *service.Config) { to(m)(cfg); cfg.Settings.BatchSize = 10 })
	require.NoError(t, w.forward(t, "customers", some(25)...))
	require.Len(t, m.asked(), 3)
	require.Equal(t, sink.Counts{Events: 25, Names: map[string]int{"customers_EventTypeLogin": 25}}, m.Counts())
	first := m.asked()[0]
	require.Equal(t, "/import", first.URL.Path)
	require.Equal(t, "strict=1", first.URL.RawQuery)
	require.Equal(t, "gzip", first.Header.Get("Content-Encoding"))
	require.Equal(t, "application/json", first.Header.Get("Content-Type"))
	user, password, ok := first.BasicAuth()
	require.True(t, ok)
	require.Equal(t, [2]string{"abcdef", ""}, [2]string{user, password})

	// The bytes are bounded as well: each of these requests has some 1,300.
	w = newWorld(t, open(t), to(m))
	requests := make([]string, 3500)
	for i := range requests {
		requests[i] = fmt.Sprintf(`{"id": "%s", "customer_id": "%s", "api_name": "%s", "endpoint_name": "%[3]s", "method": "%[3]s", "kind": "%[3]s",
			"code": "%[3]s", "level": "%[3]s", "plan": "%[3]s"}`, uuid.NewString(), jane, strings.Repeat("x", 128))
	}
	before := len(m.asked())
	require.NoError(t, w.forward(t, "requests", happened("requests", "EventTypeRequests", `{"requests": [`+strings.Join(requests, ",")+`]}`)))
	require.Len(t, m.asked()[before:], 3, "two would do for their number")
	require.Equal(t, 3500, m.Counts().Names["requests_EventTypeRequests"])
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	for name, tc := range map[string]struct {
		change                func(*service.Config)
		user, password, query string
		destination           string
	}{
		"secret": {func(cfg *service.Config) { to(m)(cfg); cfg.Settings.APISecret = "s" }, "s", "", "strict=1", "mixpanel"},
		"service account": {func(cfg *service.Config) {
			to(m)(cfg)
			cfg.Settings.ServiceAccount, cfg.Settings.ProjectID = service.ServiceAccount{User: "u", Secret: "s"}, 5
		}, "u", "s", "project_id=5&strict=1", "mixpanel"},
		"stand-in": {func(cfg *service.Config) { cfg.StandIn = m.url + "/" }, "stand-in", "", "strict=1", "stand-in"},
	} {
		w := newWorld(t, open(t), tc.change)
		require.NoError(t, w.forward(t, "customers", some(1)...), name)
		last := m.asked()[len(m.asked())-1]
		user, password, _ := last.BasicAuth()
		require.Equal(t, []string{tc.user, tc.password, tc.query}, []string{user, password, last.URL.RawQuery}, name)
		status, err := w.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, tc.destination, status.Destination, name)
	}
}

// What passes is tried again by whoever has called, and the log and the readiness say what there is to do.
func TestWhatPasses(t *testing.T) {
	t.Parallel()
	secret := func(cfg *service.Config) { cfg.Settings.Token = "topsecret" }
	for name, tc := range map[string]struct {
		fault   func(http.ResponseWriter, *http.Request, http.Handler)
		want    string
		refused bool
	}{
		"500": {answering(500), "Mixpanel answers 500", false},
		"503": {answering(503), "Mixpanel answers 503", false},
		"429": {answering(429), "Mixpanel answers 429", false},
		"302": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "Mixpanel answers 302", false},
		"401":       {answering(401), "Mixpanel refuses the credentials (401): check micro.mixpanel", true},
		"403":       {answering(403), "Mixpanel refuses the credentials (403): check micro.mixpanel", true},
		"400":       {answering(400), "Mixpanel refuses the request as a whole (400): check micro.mixpanel", true},
		"no answer": {func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, "Mixpanel cannot be reached", false},
		"of somebody else": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"failed_records": [{"index": 5, "insert_id": "another"}]}`)
		}, "Mixpanel refuses the request as a whole (400): check micro.mixpanel", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMixpanel(t)
			w := newWorld(t, open(t), func(cfg *service.Config) { to(m)(cfg); secret(cfg) })
			m.fail(tc.fault)
			batch := some(2)
			err := w.forward(t, "customers", batch...)
			require.EqualError(t, err, tc.want)
			require.False(t, errors.Permanent(err))
			require.Len(t, m.asked(), 1)
			require.EqualError(t, w.forward(t, "customers", batch[:1]...), tc.want, "nothing is sent for a moment")
			require.Len(t, m.asked(), 1)
			require.Equal(t, tc.refused, w.Check(t.Context()) != nil)
			require.Equal(t, 1, strings.Count(w.log.String(), tc.want), "it is told once: %s", w.log)
			require.Equal(t, tc.refused, strings.Contains(w.log.String(), "level=ERROR"))
			require.NotContains(t, w.log.String(), "topsecret")

			m.fail(nil)
			require.Eventually(t, func() bool { return w.forward(t, "customers", batch...) == nil }, patience, 10*time.Millisecond)
			require.NoError(t, w.Check(t.Context()))
			require.Contains(t, w.log.String(), "Mixpanel takes events again")
			require.Equal(t, 2, m.Counts().Events)
			require.EqualValues(t, 2, w.status(t, "customers").Forwarded)
		})
	}
}

// What was taken before the answer was lost is sent again, and counts once.
func TestAnAnswerIsLost(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), to(m))
	m.fail(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	batch := some(3)
	require.Error(t, w.forward(t, "customers", batch...))
	require.Equal(t, 3, m.Counts().Events)
	require.Zero(t, w.status(t, "customers").Forwarded, "nothing is known of it")
	m.fail(nil)
	require.Eventually(t, func() bool { return w.forward(t, "customers", batch...) == nil }, patience, 10*time.Millisecond)
	require.Equal(t, sink.Counts{Events: 3, Names: map[string]int{"customers_EventTypeLogin": 3}, Duplicates: 3}, m.Counts())
	require.EqualValues(t, 3, w.status(t, "customers").Forwarded)
}

func TestItWaitsAsLongAsItIsTold(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), to(m))
	m.fail(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(429)
	})
	require.Error(t, w.forward(t, "customers", some(1)...))
	m.fail(nil)
	began := time.Now()
	require.NoError(t, w.forward(t, "customers", some(1)...))
	require.Greater(t, time.Since(began), 500*time.Millisecond, "it waits, and then sends")

	// It does not wait for what is longer than a handler has.
	for _, header := range []string{"60", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "1000000000"} {
		m := newMixpanel(t)
		w := newWorld(t, open(t), to(m))
		m.fail(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(503)
		})
		require.Error(t, w.forward(t, "customers", some(1)...))
		require.EqualError(t, w.forward(t, "customers", some(1)...), "Mixpanel answers 503")
		require.Len(t, m.asked(), 1)
	}
}

func TestTooLargeForMixpanel(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), to(m))
	m.fail(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.ContentLength > 400 { // of what is compressed: a few events
			w.WriteHeader(413)
			return
		}
		next.ServeHTTP(w, r)
	})
	require.NoError(t, w.forward(t, "customers", some(40)...))
	require.Equal(t, 40, m.Counts().Events)
	require.Zero(t, m.Counts().Duplicates)

	m.fail(answering(413))
	err := w.forward(t, "customers", some(1)...)
	require.EqualError(t, err, "Mixpanel refuses the size of it")
	require.True(t, errors.Permanent(err))
}

// Only the events that Mixpanel names are to blame; the others are there, and are not sent again.
func TestSomeAreRefused(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), to(m))
	batch := some(4)
	batch[2].Time = time.Unix(5, 0) // before Mixpanel's time
	err := w.forward(t, "customers", batch...)
	require.EqualError(t, err, "Mixpanel refuses some of 4 events")
	require.True(t, errors.Permanent(err))
	require.Equal(t, 3, m.Counts().Events)
	require.Len(t, m.asked(), 1)

	require.NoError(t, w.forward(t, "customers", batch[:2]...), "what the consumer does then")
	require.Error(t, w.forward(t, "customers", batch[2:]...))
	err = w.forward(t, "customers", batch[2])
	require.EqualError(t, err, "Mixpanel refuses properties.time of it")
	require.True(t, errors.Permanent(err))
	require.NoError(t, w.forward(t, "customers", batch[3]))
	require.Len(t, m.asked(), 1, "nothing was sent again")
	require.EqualValues(t, 3, w.status(t, "customers").Forwarded)

	require.EqualError(t, w.forward(t, "customers", batch[2]), "Mixpanel refuses properties.time of it")
	require.Len(t, m.asked(), 2, "a dead letter that is replayed is sent")

	// An event is refused with any of its requests.
	requests := make([]string, 0, 2)
	for _, at := range []string{"2030-01-01T00:00:00Z", "1960-01-01T00:00:00Z"} {
		requests = append(requests, fmt.Sprintf(`{"id": "%s", "customer_id": "%s", "time": "%s"}`, uuid.NewString(), jane, at))
	}
	err = w.forward(t, "requests", happened("requests", "EventTypeRequests", `{"requests": [`+strings.Join(requests, ",")+`]}`))
	require.EqualError(t, err, "Mixpanel refuses properties.time of it")
	require.Equal(t, 1, m.Counts().Names["requests_EventTypeRequests"])
}

// Mixpanel may repeat what it was sent: nothing of that is repeated.
func TestWhatMixpanelSaysIsNotRepeated(t *testing.T) {
	t.Parallel()
	m := newMixpanel(t)
	w := newWorld(t, open(t), to(m))
	m.fail(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(400)
		require.NoError(t, json.NewEncoder(w).Encode(map[string]any{
			"failed_records": []any{map[string]any{"index": 0, "field": "tell nobody", "message": "tell nobody"}}, "error": "tell nobody",
		}))
	})
	err := w.forward(t, "customers", some(1)...)
	require.EqualError(t, err, "Mixpanel refuses something of it")
	require.NotContains(t, w.log.String(), "nobody")
}
