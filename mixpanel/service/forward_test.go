package service_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/events"
)

func TestForward(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	plain := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
			return slog.Attr{} // of the line, not of the event
		}
		return a
	}}
	core, err := service.New(service.Config{Log: slog.New(slog.NewTextHandler(&log, plain))})
	require.NoError(t, err)
	id := uuid.MustParse("0190aaaa-0000-7000-8000-00000000000a")
	east := time.FixedZone("east", 3600)
	require.NoError(t, core.Forward(t.Context(), []*events.Event{
		{
			ID: id, Topic: "customers", Type: "EventTypeCreated", Time: time.Date(2030, 1, 1, 1, 0, 0, 123_456_789, east),
			Cause: "tellnobody", Aggregate: "tellnobody", Payload: []byte(`{"customer": {"email": "tellnobody@example.com"}}`),
		},
		{ID: id, Topic: "requests", Type: "EventTypeOfTheFuture", Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: id, Topic: "requests", Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Payload: []byte("no JSON")},
	}))
	require.Equal(t, `level=INFO msg="would forward" event=customers_EventTypeCreated id=0190aaaa-0000-7000-8000-00000000000a time=2030-01-01T00:00:00.123456789Z
level=INFO msg="would forward" event=requests_EventTypeOfTheFuture id=0190aaaa-0000-7000-8000-00000000000a time=2030-01-01T00:00:00Z
level=INFO msg="would forward" event=requests_EventTypeUnknown id=0190aaaa-0000-7000-8000-00000000000a time=2030-01-01T00:00:00Z
`, log.String())
	require.NotContains(t, log.String(), "tellnobody")
}
