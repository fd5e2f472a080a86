package events_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	microevents "github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/internal/testproto"
)

func TestWhatIsPublished(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s)
		before := time.Now()
		add(t, b, db, made("a", 1), made("", 2), made("a", 3))
		eventually(t, func() bool { return len(s.published()) == 3 }, "three events")
		for i, e := range s.published() {
			id, err := uuid.Parse(e.ID)
			require.NoError(t, err)
			require.EqualValues(t, 7, id.Version())
			require.Equal(t, topic, e.Topic)
			require.Equal(t, e.ID, e.Metadata[stream.IDKey])
			at, err := time.Parse(time.RFC3339Nano, e.Metadata[stream.TimeKey])
			require.NoError(t, err)
			require.True(t, at.Equal(e.Timestamp))
			require.WithinRange(t, at, before, time.Now())
			require.Equal(t, "HAPPENED_TYPE_MADE", e.Metadata["type"])
			require.Equal(t, []string{"a", "", "a"}[i], e.Metadata["aggregate"])
			require.Equal(t, []string{"1", "", "2"}[i], e.Metadata["sequence"])
			var m testproto.Happened
			require.NoError(t, protojson.Unmarshal(e.Payload, &m))
			require.EqualValues(t, i+1, m.Number)
			require.Contains(t, string(e.Payload), "HAPPENED_TYPE_MADE", "enums travel by name")
		}
	})
}

func TestNothingIsPublishedThatWasNotCommitted(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s)
		undone := errors.New("undone")
		require.ErrorIs(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return errors.Join(b.Add(ctx, tx, made("a", 1)), undone)
		}), undone)
		add(t, b, db, made("a", 2))
		eventually(t, func() bool { return len(s.published()) > 0 }, "an event")
		require.Len(t, s.published(), 1)
		require.Equal(t, "1", s.published()[0].Metadata["sequence"], "the number was not used up")
	})
}

// Many at once, some of which undo what they did: the numbers of each aggregate have no gaps, and what is published is in
// their order.
func TestNumbersHaveNoGaps(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s)
		var wg sync.WaitGroup
		var mu sync.Mutex
		committed := 0
		for i := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(7, uint64(i)))
				for range 20 {
					var drafts []events.Draft
					for range 1 + rng.IntN(4) {
						drafts = append(drafts, made(fmt.Sprint("a", rng.IntN(3)), 1))
					}
					undo := rng.IntN(4) == 0
					err := db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
						err := b.Add(ctx, tx, drafts...)
						if err == nil && undo {
							err = errPassing
						}
						return err
					})
					if undo != (err != nil) {
						t.Errorf("unexpected: %v", err)
					}
					if err == nil {
						mu.Lock()
						committed += len(drafts)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		eventually(t, func() bool { return len(s.published()) >= committed }, "%d events", committed)
		require.Len(t, s.published(), committed)
		last := make(map[string]int)
		for _, e := range s.published() {
			last[e.Metadata["aggregate"]]++
			require.Equal(t, fmt.Sprint(last[e.Metadata["aggregate"]]), e.Metadata["sequence"])
		}
	})
}

func TestWhatCannotBePublishedIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	b := bus(t, db, newChaos(1, 0))
	with := func(change func(*events.Draft)) events.Draft {
		d := made("a", 1)
		change(&d)
		return d
	}
	for name, tc := range map[string]struct {
		draft events.Draft
		want  string
	}{
		"no topic":          {with(func(d *events.Draft) { d.Topic = "" }), "topic must have"},
		"a long topic":      {with(func(d *events.Draft) { d.Topic = strings.Repeat("x", 1000) }), "topic must have"},
		"no message":        {with(func(d *events.Draft) { d.Message = nil }), "message is missing"},
		"not an event":      {with(func(d *events.Draft) { d.Message = &emptypb.Empty{} }), "no field type"},
		"no type":           {with(func(d *events.Draft) { d.Message = &testproto.Happened{} }), "type is not set"},
		"an unknown type":   {with(func(d *events.Draft) { d.Message = &testproto.Happened{Type: 99} }), "type is not set"},
		"a long aggregate":  {with(func(d *events.Draft) { d.Aggregate = strings.Repeat("x", 1000) }), "aggregate must have"},
		"too many bytes":    {with(func(d *events.Draft) { d.Message.(*testproto.Happened).Name = strings.Repeat("x", 1<<20) }), "at most"},
		"what is no string": {with(func(d *events.Draft) { d.Message.(*testproto.Happened).Name = "\xff" }), "cannot be written"},
	} {
		err := db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return b.Add(ctx, tx, made("a", 1), tc.draft)
		})
		require.ErrorContains(t, err, tc.want, name)
	}
	require.Zero(t, count(t, db, "outbox", "1 = 1"))
	require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return b.Add(ctx, tx) }))
}

// The stream breaks again and again while it is published to, and loses what it has not on disk: everything is there in
// the end, in the order of its aggregate when it comes for the first time.
func TestTheRelayGoesOn(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(3, 0.3)
		b := started(t, db, s)
		const n = 60
		for i := range n {
			add(t, b, db, made(fmt.Sprint("a", i%3), int64(i)))
		}
		eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 0 }, "an empty outbox")
		first := make(map[string]bool)
		last := make(map[string]int)
		for _, e := range s.published() {
			if !first[e.ID] {
				first[e.ID] = true
				last[e.Metadata["aggregate"]]++
				require.Equal(t, fmt.Sprint(last[e.Metadata["aggregate"]]), e.Metadata["sequence"])
			}
		}
		require.Len(t, first, n)
	})
}

func TestWhatTheStreamHasLostIsPublishedAgain(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s)
		add(t, b, db, made("a", 1), made("a", 2))
		eventually(t, func() bool { return len(s.published()) == 2 }, "two events")
		s.lose(2) // nothing else is published by which that could be noticed
		eventually(t, func() bool { return len(s.published()) == 2 }, "both again")
		eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 0 }, "an empty outbox")
		require.Len(t, s.published(), 2)
	})
}

// A relay that is killed leaves behind what has not settled, and the next one publishes it again.
func TestTheNextRelayPublishesWhatHasNotSettled(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s)
		add(t, b, db, made("a", 1))
		eventually(t, func() bool { return len(s.published()) == 1 }, "an event")
		require.NoError(t, b.Stop())
		started(t, db, s)
		eventually(t, func() bool { return len(s.published()) == 2 }, "the event again")
		require.Equal(t, s.published()[0].ID, s.published()[1].ID)
		eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 0 }, "an empty outbox")
	})
}

// A topic that takes nothing holds up no other.
func TestATopicThatIsFull(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		s.fail("full", errChaos)
		b := started(t, db, s)
		for i := range 30 {
			d := made("a", int64(i))
			if i%3 == 0 {
				d.Topic = "full"
			}
			add(t, b, db, d)
		}
		eventually(t, func() bool { return len(s.published()) == 20 }, "the others")
		eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 10 }, "only those in the outbox")
		require.Len(t, s.published(), 20)
		s.fail("full", nil)
		eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 0 }, "an empty outbox")
		require.Len(t, s.published(), 30)
	})
}

// What the stream refuses for good stays, and is looked at no more; what was published together with it is not held up.
func TestWhatTheStreamRefuses(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		s.refuse = func(e *microevents.Event) bool { return e.Metadata["sequence"] == "7" }
		b := bus(t, db, s)
		for i := range 20 {
			add(t, b, db, made("a", int64(i)))
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return count(t, db, "outbox", "published <> -1") == 0 }, "all others are gone")
		require.Equal(t, 1, count(t, db, "outbox", "published = -1"))
		require.Len(t, s.published(), 19)
	})
}

func TestLargeEventsGoInSmallerBatches(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := bus(t, db, s)
		for i := range 20 {
			d := made("a", int64(i))
			d.Message.(*testproto.Happened).Name = strings.Repeat("x", 900<<10)
			add(t, b, db, d)
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return len(s.published()) == 20 }, "all events")
		s.mu.Lock()
		defer s.mu.Unlock()
		require.GreaterOrEqual(t, s.calls, 3)
	})
}
