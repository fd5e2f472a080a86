package lease_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/service/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var none = fstest.MapFS{"00001_none.sql": {Data: []byte("-- +goose Up\nCREATE TABLE shop_none (id BIGINT);\n-- +goose Down\nDROP TABLE shop_none;\n")}}

func open(t *testing.T, db *database.DB) *lease.Leases {
	t.Helper()
	l, err := lease.Open(t.Context(), db)
	require.NoError(t, err)
	return l
}

// run runs a holder, and returns what ends it and waits.
func run(t *testing.T, l *lease.Leases, work func(ctx context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx, "relay", work)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func TestOneAtATimeAndTheNextAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "shop", none, func(t *testing.T, db *database.DB) {
		var holders, most atomic.Int64
		started := make(chan int, 100)
		work := func(i int) func(ctx context.Context) {
			return func(ctx context.Context) {
				most.Store(max(most.Load(), holders.Add(1)))
				started <- i
				<-ctx.Done()
				holders.Add(-1)
			}
		}
		stops := make([]func(), 3)
		for i := range stops {
			stops[i] = run(t, open(t, db), work(i))
		}
		seen := make(map[int]bool)
		for range stops {
			i := <-started
			require.False(t, seen[i])
			seen[i] = true
			began := time.Now()
			stops[i]()
			require.Less(t, time.Since(began), lease.TTL, "it is given back at once")
		}
		require.EqualValues(t, 1, most.Load())
	})
}

// A holder keeps the lease for as long as it lives, and nobody gets it sooner than its end after it has died.
func TestAHolderThatDied(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		db := s.Open(t, "shop", none)
		dead := open(t, db)
		// What a process that was killed leaves behind: the row of a holder that is not there.
		inside := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			dead.Run(ctx, "relay", func(context.Context) {
				inside <- struct{}{}
				require.NoError(t, db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
					_, err := tx.Exec(ctx, `UPDATE shop_leases SET holder = 'somebody who was killed'`)
					return err
				}))
				cancel()
			})
		}()
		<-inside
		<-ended
		began := time.Now()
		got := make(chan time.Duration, 10)
		run(t, open(t, db), func(ctx context.Context) {
			got <- time.Since(began)
			<-ctx.Done()
		})
		took := <-got
		require.Greater(t, took, lease.TTL/3)
		require.Less(t, took, 3*lease.TTL)
	})
}

// A holder that has lost the lease, because it was stopped for too long, ends its work when it finds out.
func TestAHolderThatLostIt(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", none)
	ends := make(chan struct{}, 10)
	starts := make(chan struct{}, 10)
	run(t, open(t, db), func(ctx context.Context) {
		starts <- struct{}{}
		<-ctx.Done()
		ends <- struct{}{}
	})
	<-starts
	require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `UPDATE shop_leases SET holder = 'another'`)
		return err
	}))
	<-ends
	<-starts // it gets it again when the other one does not renew it
}

// A holder whose database does not answer ends its work before the lease is another's.
func TestAHolderWithoutADatabase(t *testing.T) {
	t.Parallel()
	s := databasetest.SQLite(t)
	db := s.Open(t, "shop", none)
	blocker := s.Open(t, "shop", none)
	starts := make(chan struct{}, 10)
	ended := make(chan struct{}, 10)
	run(t, open(t, db), func(ctx context.Context) {
		starts <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
	})
	<-starts
	began := time.Now()
	require.NoError(t, blocker.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		if _, err := tx.Exec(ctx, `UPDATE shop_leases SET until = until`); err != nil {
			return err
		}
		<-ended
		return ctx.Err()
	}))
	require.Less(t, time.Since(began), lease.TTL)
}

// A clock that was set back does not keep a lease for as long as that.
func TestAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "shop", none, func(t *testing.T, db *database.DB) {
		l := open(t, db)
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, `INSERT INTO shop_leases (name, holder, until) VALUES ('relay', 'dead', $1)`,
				time.Now().Add(time.Hour).UnixMicro())
			return err
		}))
		got := make(chan struct{}, 1)
		run(t, l, func(ctx context.Context) {
			got <- struct{}{}
			<-ctx.Done()
		})
		<-got
	})
}

// Who has lost the lease finds out in the transaction that would come too late.
func TestCheck(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "shop", none, func(t *testing.T, db *database.DB) {
		l, other := open(t, db), open(t, db)
		check := func(l *lease.Leases) error {
			return db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return l.Check(ctx, tx, "relay") })
		}
		require.Error(t, check(l), "nobody has it")
		started := make(chan struct{}, 1)
		run(t, l, func(ctx context.Context) {
			started <- struct{}{}
			<-ctx.Done()
		})
		<-started
		require.NoError(t, check(l))
		require.ErrorContains(t, check(other), "another's")
	})
}

func TestEvery(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "shop", none)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	calls := make(chan struct{}, 100)
	l := open(t, db)
	go func() {
		defer close(done)
		l.Every(ctx, "sweep", time.Millisecond, func(context.Context) error {
			calls <- struct{}{}
			return errors.New("it failed, and is tried again")
		})
	}()
	for range 3 {
		<-calls
	}
	cancel()
	<-done
}
