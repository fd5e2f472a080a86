package database

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/micro/micro/v3/service/config"
	microsql "github.com/micro/micro/v3/service/model/sql"
)

const (
	// openTimeout is how long opening may take, migrations included.
	openTimeout = 5 * time.Minute
	// maxConns is how many connections to PostgreSQL one process of a service has at most.
	maxConns = 16
)

// Open opens the database of a service through Micro and brings its schema up to date. It has to come after service.New.
// The migrations are in the root of the file system, named 00001_what_it_does.sql.
//
// The configuration <name>.db.address selects PostgreSQL, as postgres://user@host:5432/database, without a password,
// which belongs into PGPASSFILE or PGPASSWORD; when it is not set, the database is a SQLite file.
func Open(name string, migrations fs.FS) (*DB, error) {
	key := name + ".db.address"
	value, err := config.Get(key)
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", key, err)
	}
	// Micro would open SQLite for whatever is not PostgreSQL, and the customers would seem to be gone.
	if err := checkAddress(key, value.Bytes()); err != nil {
		return nil, err
	}
	db, err := microsql.NewDB(name)
	if err != nil {
		return nil, fmt.Errorf("open the database of %s: %w", name, translate(err))
	}
	pool, err := db.DB.DB()
	if err != nil {
		return nil, fmt.Errorf("open the database of %s: %w", name, err)
	}
	return New(Config{Name: name, Pool: pool, Migrations: migrations})
}

// checkAddress checks a configured address as Micro gives it: without the quotes of the JSON string that it is in most
// cases, with them in others; null is none.
func checkAddress(key string, text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var address string
	expected := fmt.Errorf("%s: expected postgres://user@host:port/database, or nothing for SQLite", key)
	if json.Unmarshal(text, &address) != nil {
		address = string(text)
	}
	if address == "[secret]" {
		return fmt.Errorf("%s: expected a plain value: Micro does not decrypt this one", key)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && !u.Query().Has("host") {
		return expected
	}
	if _, ok := u.User.Password(); ok || u.Query().Has("password") {
		return fmt.Errorf("%s: must not contain a password: give it with PGPASSFILE or PGPASSWORD", key)
	}
	return nil
}

// Config says what New opens.
type Config struct {
	// Name is the service's, with which the names of all its tables begin: small letters, digits and underscores.
	Name string
	// Pool is an open database, SQLite or PostgreSQL. New takes it over and closes it when it fails.
	Pool *sql.DB
	// Migrations has the migrations in its root.
	Migrations fs.FS
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// Validate returns an error that says what is missing or wrong.
func (c Config) Validate() error {
	switch {
	case !validName.MatchString(c.Name):
		return errors.New("database: the name has to be 1 to 40 small letters, digits and underscores")
	case c.Pool == nil:
		return errors.New("database: a pool is missing")
	case c.Migrations == nil:
		return errors.New("database: migrations are missing")
	}
	return nil
}

// New makes a DB of an open pool and brings its schema up to date. It returns an error when the schema is newer than the
// migrations.
func New(cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	db := &DB{name: cfg.Name, dialect: PostgreSQL, write: cfg.Pool, read: cfg.Pool, migrations: cfg.Migrations}
	if _, ok := cfg.Pool.Driver().(*sqlite3.SQLiteDriver); ok {
		db.dialect = SQLite
		var err error
		if db.write, db.read, err = openSQLite(ctx, cfg.Pool); err != nil {
			return nil, fmt.Errorf("open the database of %s: %w", cfg.Name, err)
		}
	} else {
		db.write.SetMaxOpenConns(maxConns)
		db.write.SetMaxIdleConns(maxConns)
		db.write.SetConnMaxIdleTime(5 * time.Minute)
		db.write.SetConnMaxLifetime(30 * time.Minute) // so that a moved server or a new password is noticed
	}
	if err := db.Up(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
