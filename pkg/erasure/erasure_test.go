package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/erasure"
	"github.com/m3o/backend/pkg/events"
	erasuresevents "github.com/m3o/backend/pkg/events/proto/erasures"
)

const (
	jane = "01900000-0000-7000-8000-00000000000a"
	joe  = "01900000-0000-7000-8000-00000000000b"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// bus remembers what it was asked for.
type bus struct {
	reports   []proto.Message
	forgotten []string
	err       error
}

func (b *bus) Add(_ context.Context, _ database.Querier, drafts ...events.Draft) error {
	for _, d := range drafts {
		if d.Topic != erasuresevents.Topic {
			return fmt.Errorf("a wrong topic: %s", d.Topic)
		}
		b.reports = append(b.reports, d.Message)
	}
	return b.err
}

func (b *bus) Forget(_ context.Context, _ database.Querier, aggregate string) error {
	b.forgotten = append(b.forgotten, aggregate)
	return nil
}

// shop is a service with everything that it needs.
type shop struct {
	*erasure.Erasure
	db      *database.DB
	bus     *bus
	now     time.Time
	erased  []erasure.Customer
	done    bool
	handled []string
	handler events.Handler
}

func each(t *testing.T, f func(t *testing.T, s *shop)) {
	t.Helper()
	t.Parallel()
	schema := fstest.MapFS{"00001_shop.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n")}}
	databasetest.Each(t, "shop", schema, func(t *testing.T, db *database.DB) {
		s := &shop{db: db, bus: &bus{}, now: start, done: true}
		var err error
		s.Erasure, err = erasure.New(t.Context(), erasure.Config{
			DB: db, Bus: s.bus, Clock: func() time.Time { return s.now },
			Erase: func(_ context.Context, _ database.Querier, c erasure.Customer) (bool, error) {
				s.erased = append(s.erased, c)
				return s.done, nil
			},
		})
		require.NoError(t, err)
		s.handler = s.Guard(events.Consumer{Handle: func(_ context.Context, _ database.Querier, batch []*events.Event) error {
			for _, e := range batch {
				s.handled = append(s.handled, string(e.Payload))
			}
			return nil
		}}).Handle
		f(t, s)
	})
}

func (s *shop) handle(t *testing.T, payloads ...string) error {
	t.Helper()
	batch := make([]*events.Event, len(payloads))
	for i, p := range payloads {
		batch[i] = &events.Event{ID: uuid.Must(uuid.NewV7()), Topic: "customers", Payload: []byte(p)}
	}
	return s.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return s.handler(ctx, tx, batch) })
}

func created(id string) string {
	return fmt.Sprintf(`{"type": "EventTypeCreated", "customer": {"id": %q}}`, id)
}

func erasureOf(id string) string {
	return fmt.Sprintf(`{"type": "EventTypeDeleted", "customer": {"id": %q, "email": "a@example.com"}, "deleted": {"erased": true}}`, id)
}

func TestErasure(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		deletedOnly := fmt.Sprintf(`{"type": "EventTypeDeleted", "customer": {"id": %q}, "deleted": {}}`, joe)
		require.NoError(t, s.handle(t, created(jane), created(joe), erasureOf(jane), deletedOnly, `no JSON`, `{}`))
		require.Equal(t, []string{created(joe), deletedOnly, `no JSON`, `{}`}, s.handled)
		require.Equal(t, []erasure.Customer{{ID: jane, Email: "a@example.com"}}, s.erased)
		require.Equal(t, []string{jane}, s.bus.forgotten)
		require.Len(t, s.bus.reports, 1)
		require.True(t, proto.Equal(&erasuresevents.Event{
			Type: erasuresevents.EventType_EventTypeErased, CustomerId: jane, Service: "shop",
		}, s.bus.reports[0]))

		// What comes late, or again, brings nobody back.
		s.handled = nil
		require.NoError(t, s.handle(t, created(jane), erasureOf(jane)))
		require.Empty(t, s.handled)
		require.Len(t, s.erased, 1)
		require.Len(t, s.bus.reports, 1)
		gone, err := s.Erased(t.Context(), s.db.Read(), jane, joe)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{jane: true}, gone)

		s.now = start.Add(events.InboxRetention)
		require.NoError(t, s.Sweep(t.Context()))
		gone, err = s.Erased(t.Context(), s.db.Read(), jane)
		require.NoError(t, err)
		require.NotEmpty(t, gone)
		s.now = s.now.Add(time.Second)
		require.NoError(t, s.Sweep(t.Context()))
		gone, err = s.Erased(t.Context(), s.db.Read(), jane)
		require.NoError(t, err)
		require.Empty(t, gone)
	})
}

func TestErasureThatTakesLonger(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		s.done = false
		require.NoError(t, s.handle(t, erasureOf(jane)))
		require.Len(t, s.erased, 1)
		require.Empty(t, s.bus.reports)
		require.NoError(t, s.db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return s.Done(ctx, tx, jane) }))
		require.Len(t, s.bus.reports, 1)
	})
}

// What cannot be reported was not done.
func TestErasureIsOneTransaction(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		s.bus.err = errors.New("disk full")
		require.ErrorIs(t, s.handle(t, erasureOf(jane)), s.bus.err)
		gone, err := s.Erased(t.Context(), s.db.Read(), jane)
		require.NoError(t, err)
		require.Empty(t, gone)
	})
}

func TestGuardWithoutAHandler(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		s.handler = s.Guard(events.Consumer{}).Handle
		require.NoError(t, s.handle(t, created(joe), erasureOf(jane)))
		require.Len(t, s.bus.reports, 1)
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := erasure.New(t.Context(), erasure.Config{})
	require.EqualError(t, err, "erasure: a database is missing")
}
