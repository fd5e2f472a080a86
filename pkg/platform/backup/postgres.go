package backup

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/platform/postgres"
	"github.com/m3o/backend/pkg/platform/profile"
)

// postgresDB is a database of PostgreSQL.
type postgresDB struct {
	name, address string
	// snapshot is what the database was at the instant of the backup, and keeper the connection that keeps it.
	snapshot string
	keeper   *pgx.Conn
}

// databasesOf returns the databases that a platform has, and others that its services have.
func databasesOf(others []string) ([]*postgresDB, error) {
	var addresses []string
	if profile.Current() == profile.Platform {
		if _, err := postgres.ReadConfig(); err != nil {
			return nil, err
		}
		addresses = append(addresses, os.Getenv(postgres.Variable))
	}
	if address := os.Getenv(profile.DatabaseEnv); strings.Contains(address, "%s") && len(others) == 0 {
		return nil, fmt.Errorf("%s has a database for each service: name each of them with --database", profile.DatabaseEnv)
	} else if address != "" && !strings.Contains(address, "%s") {
		addresses = append(addresses, address)
	}
	var all []*postgresDB
	known := make(map[string]bool)
	for _, address := range append(addresses, others...) {
		db, err := parse(address)
		if err != nil {
			return nil, err
		}
		if !known[db.address] {
			known[db.address] = true
			all = append(all, db)
		}
	}
	return all, nil
}

// parse reads an address. Neither libpq nor a single connection understands what is for a pool.
func parse(address string) (*postgresDB, error) {
	expected := errors.New("--database: expected an address such as postgres://user@host:5432/database, without a password")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, expected
	}
	if _, ok := u.User.Password(); ok || u.Query().Has("password") {
		return nil, errors.New("--database: must not contain a password: give it with PGPASSFILE or PGPASSWORD")
	}
	query := u.Query()
	for key := range query {
		if strings.HasPrefix(key, "pool_") {
			query.Del(key)
		}
	}
	u.RawQuery = query.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, expected
	}
	return &postgresDB{name: config.Database, address: u.String()}, nil
}

// connectTimeout is how long a server may take to let somebody in.
const connectTimeout = 5 * time.Second

func (db *postgresDB) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if db.keeper, err = pgx.Connect(ctx, db.address); err != nil {
		return fmt.Errorf("database %s: %w", db.name, err)
	}
	return nil
}

// mark makes this the instant that the database is backed up of.
func (db *postgresDB) mark(ctx context.Context) error {
	if _, err := db.keeper.Exec(ctx, `ROLLBACK`); err != nil {
		return fmt.Errorf("database %s: %w", db.name, err)
	}
	if _, err := db.keeper.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`); err != nil {
		return fmt.Errorf("database %s: %w", db.name, err)
	}
	if err := db.keeper.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&db.snapshot); err != nil {
		return fmt.Errorf("database %s: %w", db.name, err)
	}
	return nil
}

// dump writes what the database was at that instant.
func (db *postgresDB) dump(ctx context.Context, file string) error {
	return db.tool(ctx, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--snapshot="+db.snapshot,
		"--file="+file, "--dbname="+db.address)
}

// isEmpty makes sure that there is nothing that a restore could spoil.
func (db *postgresDB) isEmpty(ctx context.Context) error {
	var n int
	err := db.keeper.QueryRow(ctx, `
		SELECT COUNT(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')`).Scan(&n)
	switch {
	case err != nil:
		return fmt.Errorf("database %s: %w", db.name, err)
	case n > 0:
		return fmt.Errorf("the database %s is not empty: a backup is restored into one that is", db.name)
	}
	return nil
}

// restore fills the database, all of it or nothing.
func (db *postgresDB) restore(ctx context.Context, file string, away time.Duration) (err error) {
	if err := db.tool(ctx, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges",
		"--dbname="+db.address, file); err != nil {
		return err
	}
	pool, err := sql.Open("pgx", db.address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	return events.Revive(ctx, pool, away)
}

// tool runs a program of PostgreSQL.
func (db *postgresDB) tool(ctx context.Context, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is not on the PATH: install PostgreSQL's client programs, of the server's version or a newer one", name)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("database %s: %s: %w: %s", db.name, name, err, strings.TrimSpace(out.String()))
	}
	return nil
}

func (db *postgresDB) close() error {
	if db.keeper == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return db.keeper.Close(ctx)
}
