// Package databasetest gives tests databases of their own, which are gone when the test ends.
//
// Tests run on SQLite, and on PostgreSQL as well when TEST_POSTGRES_ADDRESS has the address of a server, as
// postgres://user@127.0.0.1:5432/postgres, where the tests may create schemas. Built with the tag platform, tests fail
// without it, so that a run that is to test PostgreSQL cannot leave it out.
package databasetest

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL that Micro uses
	_ "github.com/mattn/go-sqlite3"    // the driver for SQLite that Micro uses
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
)

// AddressEnv is the environment variable with the address of a PostgreSQL server.
const AddressEnv = "TEST_POSTGRES_ADDRESS"

// Open returns an empty, migrated SQLite database, for tests to which it does not matter which database it is.
func Open(t testing.TB, name string, migrations fs.FS) *database.DB {
	t.Helper()
	return SQLite(t).Open(t, name, migrations)
}

// Each runs f on an empty, migrated database of each sort, as parallel subtests named sqlite and postgres.
func Each(t *testing.T, name string, migrations fs.FS, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	EachSource(t, func(t *testing.T, s Source) { f(t, s.Open(t, name, migrations)) })
}

// EachSource is Each for tests that open a database themselves, perhaps several times.
func EachSource(t *testing.T, f func(t *testing.T, s Source)) {
	t.Helper()
	t.Run(string(database.SQLite), func(t *testing.T) {
		t.Parallel()
		f(t, SQLite(t))
	})
	if platform || os.Getenv(AddressEnv) != "" {
		t.Run(string(database.PostgreSQL), func(t *testing.T) {
			t.Parallel()
			f(t, PostgreSQL(t))
		})
	}
}

// Source is where a database is.
type Source struct{ driver, address string }

// SQLite returns a new SQLite file.
func SQLite(t testing.TB) Source {
	t.Helper()
	return Source{"sqlite3", filepath.Join(t.TempDir(), "db.sqlite")}
}

// PostgreSQL returns a new schema on the PostgreSQL server. It fails the test when there is no server.
func PostgreSQL(t testing.TB) Source {
	t.Helper()
	address := os.Getenv(AddressEnv)
	require.NotEmpty(t, address, "%s must have the address of a PostgreSQL server", AddressEnv)
	u, err := url.Parse(address)
	require.NoError(t, err)

	schema := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	server, err := sql.Open("pgx", address)
	require.NoError(t, err)
	_, err = server.ExecContext(t.Context(), fmt.Sprintf("CREATE SCHEMA %s", schema))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := server.ExecContext(context.Background(), fmt.Sprintf("DROP SCHEMA %s CASCADE", schema))
		require.NoError(t, err)
		require.NoError(t, server.Close())
	})

	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return Source{"pgx", u.String()}
}

// Address is what the database is configured with.
func (s Source) Address() string { return s.address }

// Pool opens the database as Micro does, and closes it with the test.
func (s Source) Pool(t testing.TB) *sql.DB {
	t.Helper()
	pool, err := sql.Open(s.driver, s.address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return pool
}

// Open opens the database as a service does, and closes it with the test.
func (s Source) Open(t testing.TB, name string, migrations fs.FS) *database.DB {
	t.Helper()
	db, err := database.New(database.Config{Name: name, Pool: s.Pool(t), Migrations: migrations})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}
