package database

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// upAttempts is how often a migration is tried on SQLite.
const upAttempts = 5

// Up brings the schema up to the newest migration. It is an error when the schema is newer than that.
func (db *DB) Up(ctx context.Context) error {
	p, err := db.provider()
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
	p, err := db.provider()
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

func (db *DB) provider() (*goose.Provider, error) {
	options := []goose.ProviderOption{
		goose.WithTableName(db.name + "_migrations"),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	dialect, migrations := goose.DialectPostgres, db.migrations
	switch db.dialect {
	case SQLite:
		dialect, migrations = goose.DialectSQLite3, sqliteMigrations{db.migrations}
	case PostgreSQL:
		// One lock for each service, so that services that share a database do not wait for one another.
		id := int64(crc32.ChecksumIEEE([]byte(db.name + "_migrations")))
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(id), lock.WithLockTimeout(1, 240))
		if err != nil {
			return nil, fmt.Errorf("migrate the database of %s: %w", db.name, err)
		}
		options = append(options, goose.WithSessionLocker(locker))
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
