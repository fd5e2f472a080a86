package events_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/internal/testproto"
)

// Whatever the stream does to it, whichever handlers fail, and with processes of the publisher and the consumer coming and
// going: what was committed has its effect once, in the order of its aggregate, or is a dead letter because it is poison;
// and nothing is left in between.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for range 12 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %#x", seed), func(t *testing.T) {
			each(t, func(t *testing.T, db *database.DB) { history(t, db, seed) })
		})
	}
}

// history plays the history of a seed.
func history(t *testing.T, db *database.DB, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	wild := 0.25 * rng.Float64()
	poison := 5 + rng.Int64N(50)  // every so manieth cannot be handled
	failing := 3 + rng.Int64N(20) // every so manieth fails at first
	aggregates, replicas, transactions := 1+rng.IntN(5), 1+rng.IntN(2), 1+rng.IntN(40)
	restarts := make(map[int]bool)
	for range rng.IntN(4) {
		restarts[rng.IntN(40)] = true
	}
	s := newChaos(seed, wild)
	tr := newTrouble(func(number int64, attempt int) error {
		switch {
		case number%poison == 0:
			return kinds.Invalid("number", "is poison")
		case number%failing == 0 && attempt < 3:
			return errPassing
		}
		return nil
	})
	consumer := events.Consumer{
		Topic: topic, Handle: tr.handler("one"), RetryAfter: time.Millisecond, Attempts: 1_000_000, GapWait: time.Hour,
	}
	running := make([]*events.Bus, replicas)
	for i := range running {
		running[i] = started(t, db, s, consumer)
	}
	committed, dead := int64(0), 0
	number := int64(0)
	for i := range transactions {
		if restarts[i] {
			require.NoError(t, running[i%replicas].Stop())
			running[i%replicas] = started(t, db, s, consumer)
		}
		var drafts []events.Draft
		for range 1 + i%4 {
			number++
			drafts = append(drafts, made(fmt.Sprint("a", int(number)%aggregates), number))
		}
		undo := i%7 == 6
		err := db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
			if err := running[i%replicas].Add(ctx, tx, drafts...); err != nil {
				return err
			}
			if undo {
				return errPassing
			}
			return nil
		})
		require.Equal(t, undo, err != nil)
		if undo {
			number -= int64(len(drafts))
			continue
		}
		committed += int64(len(drafts))
	}
	for n := range committed {
		if (n+1)%poison == 0 {
			dead++
		}
	}
	eventually(t, func() bool {
		return count(t, db, "effects", "1 = 1")+dead >= int(committed) && count(t, db, "letters", "state = 'dead'") == dead
	}, "%d effects and %d dead letters, of %d", int(committed)-dead, dead, committed)
	eventually(t, func() bool { return count(t, db, "outbox", "1 = 1") == 0 && s.left("shop") == 0 }, "nothing in between")
	for _, b := range running {
		require.NoError(t, b.Stop())
	}
	all := effects(t, db, "one")
	require.Len(t, all, int(committed)-dead)
	requireOrder(t, all)
	require.Zero(t, count(t, db, "letters", "state <> 'dead'"))
}

// Two services that answer each other's events until a number is reached: nothing is lost between them.
func TestThereAndBackAgain(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", schema)
	s := newChaos(11, 0.2)
	var once sync.Once
	done := make(chan struct{})
	const turns = 50
	var b *events.Bus
	answer := func(to string) events.Handler {
		return events.Each(func(ctx context.Context, tx database.Querier, _ *events.Event, m *testproto.Happened) error {
			if m.Number == turns {
				database.AfterCommit(ctx, func() { once.Do(func() { close(done) }) })
				return nil
			}
			d := made("ball", m.Number+1)
			d.Topic = to
			return b.Add(ctx, tx, d)
		})
	}
	b = bus(t, db, s, events.Consumer{Topic: "ping", Handle: answer("pong")}, events.Consumer{Topic: "pong", Handle: answer("ping")})
	require.NoError(t, b.Start())
	d := made("ball", 0)
	d.Topic = "ping"
	add(t, b, db, d)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the ball was lost")
	}
}
