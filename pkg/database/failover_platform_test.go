//go:build platform

package database_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/engine"
)

// A service goes on with the server that takes changes, and says 503 while none does.
func TestFailover(t *testing.T) {
	dir, err := os.MkdirTemp("", "database-*")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // PostgreSQL's user has to get to its own
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	one, err := engine.Postgres(t.Context(), engine.Config{Dir: filepath.Join(dir, "one")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, one.Stop()) })
	two, err := engine.Postgres(t.Context(), engine.Config{Dir: filepath.Join(dir, "two"), Follows: one.Host()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, two.Stop()) })
	require.NoError(t, one.AwaitStandby(t.Context()))

	pool, err := sql.Open("pgx", "postgres://postgres@"+one.Host()+","+two.Host()+
		"/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=3")
	require.NoError(t, err)
	db, err := database.New(database.Config{Name: "kept", Pool: pool, Migrations: fstest.MapFS{
		"00001_kept.sql": migration("CREATE TABLE kept_numbers (n bigint NOT NULL)", "DROP TABLE kept_numbers"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	add := func(n int) error {
		return db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, "INSERT INTO kept_numbers VALUES ($1)", n)
			return err
		})
	}
	require.NoError(t, add(1))

	_, err = one.SQL(t.Context(), "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return kinds.KindOf(add(2)) == kinds.KindUnavailable }, 30*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool { return pool.Stats().Idle == 0 }, 30*time.Second, 20*time.Millisecond, "the connections there are given up")

	require.NoError(t, one.Kill())
	require.Equal(t, kinds.KindUnavailable, kinds.KindOf(add(3)))
	require.NoError(t, two.Promote(t.Context()))
	_, err = two.SQL(t.Context(), "ALTER SYSTEM SET default_transaction_read_only = off", "SELECT pg_reload_conf()")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return add(4) == nil }, 30*time.Second, 20*time.Millisecond)
	var sum int
	require.NoError(t, db.Read().QueryRow(t.Context(), "SELECT sum(n) FROM kept_numbers WHERE n <> 2").Scan(&sum))
	require.Equal(t, 5, sum, "what was acknowledged is there")
}
