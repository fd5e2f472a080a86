package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	microevents "github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	pb "github.com/m3o/backend/pkg/events/deadletters"
	"github.com/m3o/backend/pkg/internal/testproto"
)

func TestEachConsumerHandlesEachEventOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		b := started(t, db, s,
			events.Consumer{Topic: topic, Handle: recording("one")},
			events.Consumer{Topic: topic, Name: "two", Handle: recording("two")})
		var want []effect
		for i := range 30 {
			add(t, b, db, made("a", int64(i)))
			want = append(want, effect{"a", int64(i), int64(i + 1)})
		}
		for _, consumer := range []string{"one", "two"} {
			eventually(t, func() bool { return len(effects(t, db, consumer)) >= 30 }, "all effects")
			require.Equal(t, want, effects(t, db, consumer))
		}
	})
}

// What cannot be handled is a dead letter at once, and nothing else is held up: neither the rest of the batch nor what comes
// after it of the same aggregate.
func TestPoison(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		tr := newTrouble(func(number int64, _ int) error {
			if number%10 == 3 {
				return kinds.Invalid("number", "must not be that one")
			}
			return nil
		})
		b := bus(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), GapWait: time.Hour})
		for i := range 100 {
			add(t, b, db, made(fmt.Sprint("a", i%4), int64(i)))
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return len(effects(t, db, "one")) >= 90 }, "what can be handled")
		eventually(t, func() bool { return count(t, db, "letters", "state = 'dead'") == 10 }, "ten dead letters")
		require.Len(t, effects(t, db, "one"), 90)
		require.Zero(t, count(t, db, "letters", "state <> 'dead'"))
		requireOrder(t, effects(t, db, "one"))
	})
}

// What fails in a way that passes is tried again, and what comes after it of the same aggregate waits; others do not.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		var mended atomic.Bool
		tr := newTrouble(func(number int64, _ int) error {
			if number == 3 && !mended.Load() {
				return errPassing
			}
			return nil
		})
		b := bus(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: 10 * time.Millisecond, Attempts: 1000, GapWait: 50 * time.Millisecond})
		for i := range 12 {
			add(t, b, db, made(fmt.Sprint("a", i%2), int64(i)))
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return tr.attempts(3) > 5 && len(effects(t, db, "one")) >= 7 }, "the other aggregate, and what came before")
		require.Len(t, effects(t, db, "one"), 7)
		mended.Store(true)
		eventually(t, func() bool { return len(effects(t, db, "one")) >= 12 }, "all")
		require.Len(t, effects(t, db, "one"), 12)
		requireOrder(t, effects(t, db, "one"))
		eventually(t, func() bool { return count(t, db, "letters", "1 = 1") == 0 }, "no letters")
	})
}

func requireOrder(t testing.TB, all []effect) {
	t.Helper()
	last := make(map[string]int64)
	for _, e := range all {
		require.Greater(t, e.sequence, last[e.name], "of %s", e.name)
		last[e.name] = e.sequence
	}
}

// When attempts are used up, it is a dead letter, and what waited for it goes on.
func TestAttemptsEnd(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		tr := newTrouble(func(number int64, _ int) error {
			if number == 1 {
				return errPassing
			}
			return nil
		})
		b := started(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: time.Millisecond, Attempts: 4, GapWait: time.Hour})
		add(t, b, db, made("a", 1), made("a", 2))
		eventually(t, func() bool { return len(effects(t, db, "one")) == 1 }, "the second")
		require.GreaterOrEqual(t, tr.attempts(1), 4) // and once more together with the other
		require.Equal(t, 1, count(t, db, "letters", "state = 'dead' AND attempts = 4"))
	})
}

// When everything fails, events stay in the stream: they are not made letters one after the other.
func TestAnOutageMakesFewLetters(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		var away atomic.Bool
		away.Store(true)
		tr := newTrouble(func(int64, int) error {
			if away.Load() {
				return errPassing
			}
			return nil
		})
		b := bus(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: 10 * time.Millisecond, Attempts: 1000})
		for range 10 {
			drafts := make([]events.Draft, 50)
			for i := range drafts {
				drafts[i] = made("", int64(i))
			}
			add(t, b, db, drafts...)
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return tr.total() > 40 }, "tries")
		require.Less(t, count(t, db, "letters", "1 = 1"), 50)
		away.Store(false)
		eventually(t, func() bool { return len(effects(t, db, "one")) >= 500 }, "all")
		require.Len(t, effects(t, db, "one"), 500)
	})
}

func TestAPanicIsAFailure(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	tr := newTrouble(func(number int64, attempt int) error {
		if number == 1 && attempt < 4 {
			panic("a mistake")
		}
		return nil
	})
	b := started(t, db, newChaos(1, 0), events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: time.Millisecond})
	add(t, b, db, made("a", 1), made("a", 2))
	eventually(t, func() bool { return len(effects(t, db, "one")) == 2 }, "both")
	requireOrder(t, effects(t, db, "one"))
}

// Events that others publish: without a number, without a type, of a later version, with what no database takes, and what is
// no event at all. None of them holds up what comes after it.
func TestForeignEvents(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		var mu sync.Mutex
		types := make(map[string]bool)
		started(t, db, s, events.Consumer{Topic: topic, GapWait: time.Hour, RetryAfter: time.Millisecond, Attempts: 2, Handle: events.Each(
			func(ctx context.Context, tx database.Querier, e *events.Event, m *testproto.Happened) error {
				mu.Lock()
				types[e.Type] = true
				mu.Unlock()
				if m.Number == 9 {
					return errors.New("\x00 \xff " + strings.Repeat("ä", 1000))
				}
				return record(ctx, tx, "one", e, m)
			})})
		publish := func(md map[string]string, payload string) {
			e := &microevents.Event{ID: uuid.NewString(), Topic: topic, Timestamp: time.Now(), Metadata: md, Payload: []byte(payload)}
			_, err := s.PublishBatch(t.Context(), []*microevents.Event{e})
			require.NoError(t, err)
		}
		publish(nil, `{"number": 1}`)
		publish(map[string]string{"aggregate": "a", "sequence": "none"}, `{"number": 2}`)
		publish(map[string]string{"aggregate": "a", "sequence": "9223372036854775807"}, `{"number": 3}`)
		publish(map[string]string{"aggregate": "a\x00", "sequence": "5"}, `{"number": 4}`)
		publish(map[string]string{"aggregate": strings.Repeat("a", 10_000), "sequence": "5"}, `{"number": 5}`)
		publish(map[string]string{"type": "OfALaterVersion"}, `{"type": "OfALaterVersion", "number": 6, "unknown": {"x": [1]}}`)
		publish(map[string]string{"type": "\x00" + strings.Repeat("ä", 1000), "cause": "\x00\xff"}, `{"number": 9}`)
		publish(nil, `not JSON with jane@example.com in it`)
		publish(nil, `{"number": 7}`)
		eventually(t, func() bool { return len(effects(t, db, "one")) == 7 }, "seven")
		eventually(t, func() bool { return count(t, db, "letters", "state = 'dead'") == 2 }, "two dead letters")
		require.Zero(t, count(t, db, "letters", "state <> 'dead' OR reason LIKE '%jane%'"))
		mu.Lock()
		defer mu.Unlock()
		require.True(t, types["OfALaterVersion"])
	})
}

// An aggregate of which much has to wait holds up no other.
func TestAHotAggregateStarvesNobody(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		var mended atomic.Bool
		tr := newTrouble(func(number int64, _ int) error {
			if number == 1 && !mended.Load() {
				return errPassing
			}
			return nil
		})
		b := bus(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: 500 * time.Millisecond, Attempts: 1000, GapWait: time.Millisecond})
		const hot = 1500
		for i := range hot {
			add(t, b, db, made("a", int64(i+1)))
		}
		require.NoError(t, b.Start())
		eventually(t, func() bool { return count(t, db, "letters", "state = 'early'") == hot-1 }, "much waits")
		for i := range 3 {
			add(t, b, db, made("b", int64(10_000+i)))
		}
		eventually(t, func() bool { return count(t, db, "effects", "name = 'b'") == 3 }, "the other aggregate")
		mended.Store(true)
		eventually(t, func() bool { return count(t, db, "effects", "name = 'a'") == hot }, "all of it")
		requireOrder(t, effects(t, db, "one"))
	})
}

// What a consumer has left that there is no more is for somebody to look at.
func TestAConsumerThatThereIsNoMore(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		tr := newTrouble(func(int64, int) error { return errPassing })
		b := started(t, db, s, events.Consumer{Topic: topic, Handle: tr.handler("one"), RetryAfter: time.Hour})
		add(t, b, db, made("a", 1), made("a", 2))
		eventually(t, func() bool { return count(t, db, "letters", "1 = 1") == 2 }, "two letters")
		require.NoError(t, b.Stop())
		b = started(t, db, s, events.Consumer{Topic: topic, Name: "renamed", Handle: recording("two")})
		require.Len(t, listed(t, b.DeadLetters(), "", 0), 2)
		rsp := new(pb.ReplayResponse)
		require.NoError(t, b.DeadLetters().Replay(t.Context(), &pb.ReplayRequest{Topic: topic}, rsp))
		require.Zero(t, rsp.Replayed, "nobody would see to them")
		require.Len(t, listed(t, b.DeadLetters(), "", 0), 2)
	})
}

// What runs by the clock runs, and ends with the bus.
func TestEvery(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	b := bus(t, db, newChaos(1, 0))
	calls := make(chan struct{}, 100)
	require.NoError(t, b.Every("task", time.Millisecond, func(context.Context) error {
		calls <- struct{}{}
		return nil
	}))
	require.NoError(t, b.Start())
	for range 3 {
		<-calls
	}
	require.Error(t, b.Every("late", time.Second, func(context.Context) error { return nil }))
}

// An event whose predecessor never comes is handled after a while; and one that comes after all is not lost.
func TestAGap(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		s := newChaos(1, 0)
		// Another service's events, of which the stream has no longer the first.
		source := databasetest.Open(t, "shop", schema)
		origin := newChaos(1, 0)
		o := started(t, source, origin)
		add(t, o, source, made("a", 1), made("a", 2), made("a", 3))
		eventually(t, func() bool { return len(origin.published()) == 3 }, "three")
		all := origin.published()
		started(t, db, s, events.Consumer{Topic: topic, Handle: recording("one"), GapWait: 50 * time.Millisecond})
		_, err := s.PublishBatch(t.Context(), all[1:])
		require.NoError(t, err)
		eventually(t, func() bool { return len(effects(t, db, "one")) == 2 }, "two")
		requireOrder(t, effects(t, db, "one"))
		_, err = s.PublishBatch(t.Context(), all[:1])
		require.NoError(t, err)
		eventually(t, func() bool { return len(effects(t, db, "one")) == 3 }, "the third")
	})
}

// What a handler publishes has the cause of what it handles.
func TestTheCauseTravels(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	s := newChaos(1, 0)
	var b *events.Bus
	b = bus(t, db, s, events.Consumer{Topic: topic, Handle: events.Each(
		func(ctx context.Context, tx database.Querier, _ *events.Event, _ *testproto.Happened) error {
			d := made("b", 2)
			d.Topic = "others"
			return b.Add(ctx, tx, d)
		})})
	require.NoError(t, b.Start())
	_, err := s.PublishBatch(t.Context(), []*microevents.Event{{
		ID: uuid.NewString(), Topic: topic, Timestamp: time.Now(), Metadata: map[string]string{"cause": "abc"}, Payload: []byte(`{}`),
	}})
	require.NoError(t, err)
	eventually(t, func() bool { return len(s.published()) == 2 }, "the other event")
	require.Equal(t, "abc", s.published()[1].Metadata["cause"])
}

func TestConsumersThatAreNone(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	b := bus(t, db, newChaos(1, 0))
	handle := recording("one")
	require.Error(t, b.Consume(events.Consumer{Handle: handle}))
	require.Error(t, b.Consume(events.Consumer{Topic: topic}))
	require.Error(t, b.Consume(events.Consumer{Topic: topic, Handle: handle, Timeout: time.Hour}))
	require.Error(t, b.Consume(events.Consumer{Topic: topic, Handle: handle, Attempts: -1}))
	require.NoError(t, b.Consume(events.Consumer{Topic: topic, Handle: handle}))
	require.ErrorContains(t, b.Consume(events.Consumer{Topic: topic, Handle: handle}), "give one of them a name")
	require.NoError(t, b.Start())
	require.Error(t, b.Start())
	require.Error(t, b.Consume(events.Consumer{Topic: topic, Name: "late", Handle: handle}))
	_, err := events.New(t.Context(), events.Config{DB: db})
	require.Error(t, err)
	_, err = events.New(t.Context(), events.Config{Stream: newChaos(1, 0)})
	require.Error(t, err)
}

// A handler that takes too long is broken off, and tried again.
func TestATimeout(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	first := true
	b := started(t, db, newChaos(1, 0), events.Consumer{
		Topic: topic, Timeout: 50 * time.Millisecond, RetryAfter: time.Millisecond,
		Handle: events.Each(func(ctx context.Context, tx database.Querier, e *events.Event, m *testproto.Happened) error {
			if first {
				first = false
				<-ctx.Done()
				return errors.Join(errPassing, ctx.Err())
			}
			return record(ctx, tx, "one", e, m)
		}),
	})
	add(t, b, db, made("a", 1))
	eventually(t, func() bool { return len(effects(t, db, "one")) == 1 }, "it")
}
