// Database measures what pkg/database costs: transactions of one inserted row, against the same SQL on the bare driver
// with the same settings. SQLite is durable on every commit (synchronous=FULL) on both sides; PostgreSQL is measured when
// TEST_POSTGRES_ADDRESS names one.
package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/database"
)

const (
	rounds = 5
	turn   = time.Second
	// pgWriters write at once: PostgreSQL gathers their commits, as it does those of a busy service.
	pgWriters = 16

	insert = `INSERT INTO bench_rows (id, value) VALUES ($1, $2)`
	value  = "01890a5d-ac96-774b-bcce-b302099a8057 and as much again as a name and an address have"
)

//go:embed migrations/*.sql
var files embed.FS

func main() {
	report := bench.NewReport(os.Stdout, "database")
	if err := run(report); err != nil {
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(report *bench.Report) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return measureSQLite(ctx, report, dir) }); err != nil {
		return err
	}
	address := os.Getenv("TEST_POSTGRES_ADDRESS")
	if address == "" {
		fmt.Fprintln(os.Stderr, "database: PostgreSQL is not measured: TEST_POSTGRES_ADDRESS is not set")
		return nil
	}
	return measurePostgres(ctx, report, address)
}

func measureSQLite(ctx context.Context, report *bench.Report, dir string) (err error) {
	ours, err := open("sqlite3", filepath.Join(dir, "ours.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	bare, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "bare.db")+
		"?_journal_mode=wal&_synchronous=full&_txlock=immediate&_busy_timeout=5000&_foreign_keys=on")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Close()) }()
	bare.SetMaxOpenConns(1)
	if _, err := bare.ExecContext(ctx, `CREATE TABLE bench_rows (id BIGINT PRIMARY KEY, value TEXT NOT NULL)`); err != nil {
		return err
	}

	var next atomic.Int64
	medians, err := bench.Interleave(ctx, rounds, side(1, withDatabase(ours, &next)), side(1, withDriver(bare, &next)))
	if err != nil {
		return err
	}
	report.Figure("sqlite-bare", medians[1], "tx/s")
	report.AtLeast("sqlite", medians[0], "tx/s", 2500)
	report.AtLeast("sqlite-against-bare", medians[0]/medians[1], "x", 0.8)
	return nil
}

func measurePostgres(ctx context.Context, report *bench.Report, address string) (err error) {
	ours, err := open("pgx", address)
	if err != nil {
		return err
	}
	// The server outlives us when it is not a throwaway one.
	defer func() { err = errors.Join(err, ours.Down(context.WithoutCancel(ctx)), ours.Close()) }()
	bare, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.Close()) }()
	bare.SetMaxOpenConns(pgWriters)
	bare.SetMaxIdleConns(pgWriters)

	var next atomic.Int64 // one table for both, so no id twice
	medians, err := bench.Interleave(ctx, rounds,
		side(pgWriters, withDatabase(ours, &next)), side(pgWriters, withDriver(bare, &next)))
	if err != nil {
		return err
	}
	report.Figure("postgres-16-bare", medians[1], "tx/s")
	report.AtLeast("postgres-16", medians[0], "tx/s", 2500)
	report.AtLeast("postgres-16-against-bare", medians[0]/medians[1], "x", 0.8)
	return nil
}

func open(driver, address string) (*database.DB, error) {
	pool, err := sql.Open(driver, address)
	if err != nil {
		return nil, err
	}
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	return database.New(database.Config{Name: "bench", Pool: pool, Migrations: migrations})
}

func withDatabase(db *database.DB, next *atomic.Int64) func(context.Context) error {
	return func(ctx context.Context) error {
		id := next.Add(1)
		return db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, insert, id, value)
			return err
		})
	}
}

func withDriver(db *sql.DB, next *atomic.Int64) func(context.Context) error {
	return func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insert, next.Add(1), value); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	}
}

// side has writers commit one transaction after the other for one turn, and returns how many a second that made.
func side(writers int, commit func(context.Context) error) bench.Side {
	return func(ctx context.Context) (float64, error) {
		var wg sync.WaitGroup
		var done atomic.Int64
		failed := make(chan error, writers)
		began := time.Now()
		for range writers {
			wg.Go(func() {
				for time.Since(began) < turn {
					if err := commit(ctx); err != nil {
						failed <- err
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		close(failed)
		return float64(done.Load()) / took.Seconds(), <-failed
	}
}
