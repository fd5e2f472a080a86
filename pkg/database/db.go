package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Dialect is which database it is, for the rare statement that has to differ.
type Dialect string

// The databases.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// DB is the database of one service. It may be used by many goroutines at once.
type DB struct {
	name        string
	dialect     Dialect
	write, read *sql.DB
	migrations  fs.FS
}

// Dialect says which database it is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Name is the service's, with which the names of all its tables begin.
func (db *DB) Name() string { return db.name }

// Ping finds out whether the database can be reached, for a check of the service's health.
func (db *DB) Ping(ctx context.Context) error { return translate(db.read.PingContext(ctx)) }

// Close closes the database. Transactions that are going on fail.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	return err
}

// Reader runs queries. Arguments are $1, $2, ... in any order. An error of a constraint is a *ConstraintError, and that
// there is no row is sql.ErrNoRows.
type Reader interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *Row
}

// Querier runs queries and statements, inside of a transaction.
type Querier interface {
	Reader
	Exec(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Row is the one row of a query.
type Row struct{ row *sql.Row }

// Scan copies the row's columns into dest; sql.ErrNoRows when there is no row.
func (r *Row) Scan(dest ...any) error { return translate(r.row.Scan(dest...)) }

// Read returns what runs queries outside of a transaction, each on the state that was last committed. It cannot change
// anything: changes go through Tx.
func (db *DB) Read() Reader { return querier{db.read, db.dialect} }

// transaction is what is known of a transaction while it goes on.
type transaction struct {
	db        *DB
	committed []func()
}

type inTx struct{}

// AfterCommit has f called when the transaction whose context ctx is has committed: to wake up somebody who looks for what
// it has written, and nothing more, as f is not called if the process dies before, or commits without knowing it. Outside of
// a transaction it is called at once.
func AfterCommit(ctx context.Context, f func()) {
	if t, ok := ctx.Value(inTx{}).(*transaction); ok {
		t.committed = append(t.committed, f)
		return
	}
	f()
}

// Tx runs f in a transaction, which it commits when f returns nil and rolls back when f returns an error or panics; the
// error is returned as it is. It may run f several times (see the package's guarantees), so that f must not do anything
// outside the database, and has to set its results anew each time.
//
// The context that f gets must be used for its queries. A Tx inside of f is an error: it could only wait for itself.
func (db *DB) Tx(ctx context.Context, f func(ctx context.Context, tx Querier) error) error {
	if t, ok := ctx.Value(inTx{}).(*transaction); ok && t.db == db {
		return errors.New("database: a transaction was begun inside of another")
	}
	var t *transaction
	err := retry(ctx, func() error {
		t = &transaction{db: db}
		return db.once(context.WithValue(ctx, inTx{}, t), f)
	})
	if err != nil {
		return err
	}
	for _, f := range t.committed {
		f()
	}
	return nil
}

func (db *DB) once(ctx context.Context, f func(ctx context.Context, tx Querier) error) (err error) {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", translate(err))
	}
	done := false
	defer func() {
		if !done { // f has panicked
			_ = tx.Rollback()
		}
	}()
	err = f(ctx, querier{tx, db.dialect})
	done = true
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == readOnly {
		defer db.reconnect()
	}
	if err != nil {
		// The transaction is gone whether this succeeds or not; the caller is to see what went wrong first.
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", translate(err))
	}
	return nil
}

// reconnect closes connections that nobody uses: another server may take changes now, and the address leads there.
func (db *DB) reconnect() {
	db.write.SetMaxIdleConns(0)
	db.write.SetMaxIdleConns(maxConns)
}

const (
	maxAttempts = 10
	firstPause  = 4 * time.Millisecond
	longPause   = 250 * time.Millisecond
)

// retry runs f until it does not fail in a way that passes, pausing a little longer each time.
func retry(ctx context.Context, f func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !Passing(err) || attempt == maxAttempts {
			return err
		}
		// A random part, so that those who collided do not collide again.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // two that met must not meet again; nobody gains by guessing
		}
		pause = min(2*pause, longPause)
	}
}

// runner is what a pool and a transaction have in common.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

type querier struct {
	runner  runner
	dialect Dialect
}

func (q querier) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	r, err := q.runner.ExecContext(ctx, q.dialect.rewrite(query), args...)
	return r, translate(err)
}

func (q querier) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r, err := q.runner.QueryContext(ctx, q.dialect.rewrite(query), args...)
	return r, translate(err)
}

func (q querier) QueryRow(ctx context.Context, query string, args ...any) *Row {
	return &Row{q.runner.QueryRowContext(ctx, q.dialect.rewrite(query), args...)}
}
