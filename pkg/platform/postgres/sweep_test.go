//go:build platform

package postgres

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
)

func count(t *testing.T, db *DB, table string) (n int) {
	t.Helper()
	require.NoError(t, db.pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

func change(t *testing.T, db *DB, statement string) {
	t.Helper()
	_, err := db.pool.Exec(t.Context(), statement)
	require.NoError(t, err)
}

func TestSweepsRecords(t *testing.T) {
	t.Parallel()
	address := databasetest.PostgreSQL(t).Address()
	db, other := openAt(t, address), openAt(t, address)
	s := db.Store()
	const expired = 2*sweepBatch + 1
	for i := range expired {
		require.NoError(t, s.Write(&store.Record{Key: fmt.Sprint(i), Expiry: -time.Second}))
	}
	require.NoError(t, s.Write(&store.Record{Key: "stays"}))
	require.NoError(t, s.Write(&store.Record{Key: "stays a while", Expiry: time.Minute}))
	require.Equal(t, expired+2, count(t, db, "store_records"))

	// Another process is at it.
	tx, err := other.pool.Begin(t.Context())
	require.NoError(t, err)
	mine := false
	require.NoError(t, tx.QueryRow(t.Context(), sweepLock).Scan(&mine))
	require.True(t, mine)
	require.NoError(t, db.sweep(t.Context()))
	require.Equal(t, expired+2, count(t, db, "store_records"))
	require.NoError(t, tx.Rollback(t.Context()))

	require.NoError(t, db.sweep(t.Context()))
	require.Equal(t, 2, count(t, db, "store_records"))
}

// A record that is written again while it is swept stays.
func TestSweepsNothingNew(t *testing.T) {
	t.Parallel()
	db := open(t)
	s := db.Store()
	require.NoError(t, s.Write(&store.Record{Key: "a", Expiry: -time.Second}))
	tx, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE store_records SET expires = NULL`)
	require.NoError(t, err)
	swept := make(chan error, 1)
	go func() { swept <- db.sweep(t.Context()) }()
	require.Eventually(t, func() bool { // it waits for the record
		var waits bool
		err := db.pool.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE NOT granted AND a.query LIKE '%DELETE FROM store_records%' AND pg_blocking_pids(pid) @> ARRAY[$1::int]`,
			int32(tx.Conn().PgConn().PID())).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-swept)
	_, err = s.Read("a")
	require.NoError(t, err)
}

// Who reads a blob that is replaced reads on for a while, and is told when it has gone.
func TestSweepsBlobs(t *testing.T) {
	t.Parallel()
	db := open(t)
	b := db.Blobs()
	blob := bytes.Repeat([]byte("0123456789"), 7<<20/10)
	require.NoError(t, b.Write("a", bytes.NewReader(blob)))
	reading, err := b.Read("a")
	require.NoError(t, err)
	late, err := b.Read("a")
	require.NoError(t, err)
	require.NoError(t, b.Write("a", bytes.NewReader([]byte("new"))))
	require.NoError(t, b.Write("deleted", bytes.NewReader(blob)))
	require.NoError(t, b.Delete("deleted"))

	require.NoError(t, db.sweep(t.Context()))
	require.Equal(t, 3, count(t, db, "store_blobs"))
	all, err := io.ReadAll(reading)
	require.NoError(t, err)
	require.True(t, bytes.Equal(blob, all))

	change(t, db, `UPDATE store_blobs SET replaced = replaced - interval '11 minutes'`)
	require.NoError(t, db.sweep(t.Context()))
	require.Equal(t, 1, count(t, db, "store_blobs"))
	require.Equal(t, 1, count(t, db, "store_chunks"))
	_, err = io.ReadAll(late)
	require.EqualError(t, err, "the blob was replaced or deleted more than ten minutes ago, before all of it was read")
	read, err := b.Read("a")
	require.NoError(t, err)
	all, err = io.ReadAll(read)
	require.NoError(t, err)
	require.Equal(t, "new", string(all))
}

// Nothing is left of a blob that could not be written.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	db := open(t)
	broken := io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), brokenReader{})
	require.ErrorIs(t, db.Blobs().Write("a", broken), pgx.ErrTxClosed)
	require.Zero(t, count(t, db, "store_chunks"))
	require.Zero(t, count(t, db, "store_blobs"))
	require.Zero(t, len(db.writers))
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, pgx.ErrTxClosed }
