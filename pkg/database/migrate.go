package database

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// upAttempts is how often a migration is tried on SQLite.
const upAttempts = 5

// Up brings the schema up to the newest migration. It is an error when the schema is newer than that.
func (db *DB) Up(ctx context.Context) error { return db.up(ctx, db.name+"_migrations", db.migrations) }

// Extend brings the tables up to date that a part of pkg keeps in the database of each service that uses it, beside the
// service's own. In the part's migrations the word SERVICE stands for the service's name, as in SERVICE_outbox. The part's
// name is one word.
func (db *DB) Extend(ctx context.Context, part string, migrations fs.FS) error {
	named := rewrittenMigrations{migrations, func(text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("SERVICE_"), []byte(db.name+"_"))
	}}
	return db.up(ctx, db.name+"_"+part+"_migrations", named)
}

func (db *DB) up(ctx context.Context, table string, migrations fs.FS) error {
	p, err := db.provider(table, migrations)
	if err != nil {
		return err
	}
	if err := db.refuseNewer(ctx, p); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		_, err = p.Up(ctx)
		// Without a lock as PostgreSQL has, two processes may find that a migration is missing. It is done once, since it
		// and the record of it are one transaction; the other process fails, and finds it done when it looks again.
		if err == nil || db.dialect != SQLite || attempt == upAttempts || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Duration(attempt) * 20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("migrate the database of %s: %w", db.name, translate(err))
	}
	return db.refuseNewer(ctx, p)
}

// Down takes back every migration, and all data with them. It is for tests and tools.
func (db *DB) Down(ctx context.Context) error {
	p, err := db.provider(db.name+"_migrations", db.migrations)
	if err != nil {
		return err
	}
	if _, err := p.DownTo(ctx, 0); err != nil {
		return fmt.Errorf("take back the migrations of %s: %w", db.name, translate(err))
	}
	return nil
}

func (db *DB) refuseNewer(ctx context.Context, p *goose.Provider) error {
	current, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the database of %s: %w", db.name, translate(err))
	}
	if current > known {
		return fmt.Errorf("the database of %s is at migration %d and this binary knows %d: run a newer binary",
			db.name, current, known)
	}
	return nil
}

func (db *DB) provider(table string, migrations fs.FS) (*goose.Provider, error) {
	options := []goose.ProviderOption{
		goose.WithTableName(table),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	dialect := goose.DialectPostgres
	switch db.dialect {
	case SQLite:
		dialect, migrations = goose.DialectSQLite3, rewrittenMigrations{migrations, forSQLite}
	case PostgreSQL:
		options = append(options, goose.WithSessionLocker(migrationLock{db.name}))
	}
	p, err := goose.NewProvider(dialect, db.write, migrations, options...)
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil, fmt.Errorf("the migrations of %s are missing", db.name)
	}
	if err != nil {
		return nil, fmt.Errorf("the migrations of %s: %w", db.name, err)
	}
	return p, nil
}

// migrationLock lets one process at a time migrate the tables of a service on PostgreSQL. Goose has such a lock as well,
// which asks again every second at most and is the same for all services that share a database.
type migrationLock struct{ name string }

// The key is a hash of the service and the schema that its tables are in.
const lockKey = `hashtextextended(current_schema() || '.' || $1, 0)`

func (l migrationLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(`+lockKey+`)`, l.name)
	return err
}

func (l migrationLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock(`+lockKey+`)`, l.name)
	return err
}
