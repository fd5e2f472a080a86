package events_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/internal/testproto"
)

// Micro starts goroutines when it is linked.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Args = os.Args[:1]
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, role, "ended:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/router/registry.(*table).Watch.func1"))
}

const topic = "things"

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// schema is what the handlers of these tests change: effects, in their order.
var schema = fstest.MapFS{"00001_shop.sql": {Data: []byte(`-- +goose Up
CREATE TABLE shop_effects (
    position  BIGSERIAL PRIMARY KEY,
    consumer  TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    sequence  BIGINT NOT NULL
);
-- +goose Down
DROP TABLE shop_effects;
`)}}

// each runs a test on a database of each sort.
func each(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "shop", schema, f)
}

// bus returns a bus that is stopped with the test. It is started by the test.
func bus(t testing.TB, db *database.DB, s stream.Stream, consumers ...events.Consumer) *events.Bus {
	t.Helper()
	b, err := events.New(context.Background(), events.Config{DB: db, Stream: s, Settle: 300 * time.Millisecond})
	require.NoError(t, err)
	for _, c := range consumers {
		require.NoError(t, b.Consume(c))
	}
	t.Cleanup(func() { require.NoError(t, b.Stop()) })
	return b
}

func started(t testing.TB, db *database.DB, s stream.Stream, consumers ...events.Consumer) *events.Bus {
	t.Helper()
	b := bus(t, db, s, consumers...)
	require.NoError(t, b.Start())
	return b
}

// made is the draft of an event about something, or about nothing in particular.
func made(aggregate string, number int64) events.Draft {
	return events.Draft{
		Topic: topic, Aggregate: aggregate,
		Message: &testproto.Happened{Type: testproto.HappenedType_HAPPENED_TYPE_MADE, Name: aggregate, Number: number},
	}
}

// add adds events in a transaction of their own.
func add(t testing.TB, b *events.Bus, db *database.DB, drafts ...events.Draft) {
	t.Helper()
	require.NoError(t, db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
		return b.Add(ctx, tx, drafts...)
	}))
}

// effect is what a handler of these tests has done.
type effect struct {
	name             string
	number, sequence int64
}

// record is a handler's effect: a row for each event.
func record(ctx context.Context, tx database.Querier, consumer string, e *events.Event, m *testproto.Happened) error {
	_, err := tx.Exec(ctx, `INSERT INTO shop_effects (consumer, name, number, sequence) VALUES ($1, $2, $3, $4)`,
		consumer, m.Name, m.Number, e.Sequence)
	return err
}

func recording(consumer string) events.Handler {
	return events.Each(func(ctx context.Context, tx database.Querier, e *events.Event, m *testproto.Happened) error {
		return record(ctx, tx, consumer, e, m)
	})
}

func effects(t testing.TB, db *database.DB, consumer string) []effect {
	t.Helper()
	rows, err := db.Read().Query(context.Background(), `
		SELECT name, number, sequence FROM shop_effects WHERE consumer = $1 ORDER BY position`, consumer)
	require.NoError(t, err)
	defer rows.Close()
	var all []effect
	for rows.Next() {
		var e effect
		require.NoError(t, rows.Scan(&e.name, &e.number, &e.sequence))
		all = append(all, e)
	}
	require.NoError(t, rows.Err())
	return all
}

// count counts the rows of a table.
func count(t testing.TB, db *database.DB, table, where string) int {
	t.Helper()
	var n int
	require.NoError(t, db.Read().QueryRow(context.Background(), `SELECT COUNT(*) FROM shop_`+table+` WHERE `+where).Scan(&n))
	return n
}

func eventually(t testing.TB, condition func() bool, format string, args ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, fmt.Sprintf(format, args...))
}

// trouble makes a handler fail, event by event.
type trouble struct {
	mu    sync.Mutex
	tried map[int64]int
	fails func(number int64, attempt int) error
}

var errPassing = errors.New("somebody else is away")

func newTrouble(fails func(number int64, attempt int) error) *trouble {
	return &trouble{tried: make(map[int64]int), fails: fails}
}

func (tr *trouble) attempts(number int64) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.tried[number]
}

func (tr *trouble) total() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := 0
	for _, tries := range tr.tried {
		n += tries
	}
	return n
}

// handler has its effect before it fails, which the transaction has to undo.
func (tr *trouble) handler(consumer string) events.Handler {
	return events.Each(func(ctx context.Context, tx database.Querier, e *events.Event, m *testproto.Happened) error {
		if err := record(ctx, tx, consumer, e, m); err != nil {
			return err
		}
		tr.mu.Lock()
		tr.tried[m.Number]++
		attempt := tr.tried[m.Number]
		tr.mu.Unlock()
		return tr.fails(m.Number, attempt)
	})
}
