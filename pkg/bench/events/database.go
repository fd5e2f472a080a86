package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"

	"github.com/m3o/backend/pkg/database"
)

//go:embed migrations/*.sql
var files embed.FS

// open opens a database for a side of the benchmark.
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

// withDatabases runs f on a new SQLite file below dir, durable on every commit, and on PostgreSQL where there is one. It is
// left as it was.
func withDatabases(dir, name string, f func(db *database.DB) error) (err error) {
	db, err := open("sqlite3", filepath.Join(dir, name+".db"))
	if err != nil {
		return err
	}
	if err := errors.Join(f(db), db.Close()); err != nil {
		return err
	}
	address := os.Getenv("TEST_POSTGRES_ADDRESS")
	if address == "" {
		fmt.Fprintln(os.Stderr, "events: PostgreSQL is not measured: TEST_POSTGRES_ADDRESS is not set")
		return nil
	}
	server, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	if _, err := server.ExecContext(context.Background(), `CREATE SCHEMA `+name); err != nil {
		return errors.Join(err, server.Close())
	}
	defer func() {
		_, dropped := server.ExecContext(context.Background(), `DROP SCHEMA `+name+` CASCADE`)
		err = errors.Join(err, dropped, server.Close())
	}()
	db, err = open("pgx", address+"&search_path="+name)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}
