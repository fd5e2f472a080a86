package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/stream"
)

// source is a database with so many customers.
type source struct {
	driver, address string
	customers       int
}

// withSQLite runs f with a new SQLite file below dir, durable on every commit.
func withSQLite(dir string, f func(s source) error) error {
	return f(source{"sqlite3", filepath.Join(dir, "customers.db"), few})
}

// withPostgres runs f with a schema of its own on PostgreSQL, which is as it was before when it returns.
func withPostgres(ctx context.Context, schema string, customers int, f func(s source) error) (err error) {
	address := os.Getenv(postgresEnv)
	server, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if _, err := server.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		return err
	}
	defer func() {
		_, dropped := server.ExecContext(context.WithoutCancel(ctx), `DROP SCHEMA `+schema+` CASCADE`)
		err = errors.Join(err, dropped)
	}()
	separator := "?"
	if strings.Contains(address, separator) {
		separator = "&"
	}
	return f(source{"pgx", address + separator + "search_path=" + schema, customers})
}

// core is customers without RPC.
type core struct {
	db        *database.DB
	customers *service.Customers
	keys      *service.Keys
}

// nowhere is a stream to which nothing is published: events stay in the outbox.
type nowhere struct{ stream.Stream }

// nobody is an auth service that nothing is asked of.
type nobody struct{ service.Accounts }

// open opens the core of customers on a source, whose db has to be closed.
func (s source) open() (*core, error) {
	pool, err := sql.Open(s.driver, s.address)
	if err != nil {
		return nil, err
	}
	c := new(core)
	if c.db, err = database.New(database.Config{Name: name, Pool: pool, Migrations: migrations.FS}); err != nil {
		return nil, err
	}
	bus, err := events.New(context.Background(), events.Config{DB: c.db, Stream: nowhere{}})
	if err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	c.customers, err = service.New(service.Config{DB: c.db, Outbox: bus, Accounts: nobody{}})
	if err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	if c.keys, err = service.NewKeys(service.KeysConfig{DB: c.db, Outbox: bus}); err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return c, nil
}
