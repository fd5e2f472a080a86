//go:build platform

package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/platform/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // the supervisor has a thread that starts processes
}

// open opens a database with tables of its own.
func open(t testing.TB) *DB {
	t.Helper()
	return openAt(t, databasetest.PostgreSQL(t).Address())
}

func openAt(t testing.TB, address string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Address: address})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

func TestBlobs(t *testing.T) { //nolint:paralleltest // it measures memory
	db := open(t)
	storetest.RunBlobs(t, func(*testing.T) store.BlobStore { return db.Blobs() })
}

func TestStore(t *testing.T) {
	t.Parallel()
	db := open(t)
	storetest.Run(t, func(*testing.T) store.Store { return db.Store() })
}

func TestLimits(t *testing.T) {
	t.Parallel()
	db := open(t)
	s := db.Store()
	long, name := strings.Repeat("k", MaxKey), strings.Repeat("n", MaxName)
	require.NoError(t, s.Write(&store.Record{Key: long}, store.WriteTo(name, name)))
	found, err := s.Read(long, store.ReadFrom(name, name))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, db.Blobs().Write(long, strings.NewReader("x"), store.BlobNamespace(name)))

	require.EqualError(t, s.Write(&store.Record{Key: long + "k"}), "key: one of 2001 bytes: expected at most 2000")
	require.EqualError(t, s.Write(&store.Record{Key: "a"}, store.WriteTo(name+"n", "t")), "database: a name of 251 bytes: expected at most 250")
	require.EqualError(t, s.Delete("a", store.DeleteFrom("d", name+"n")), "table: a name of 251 bytes: expected at most 250")
	require.EqualError(t, s.Write(&store.Record{Key: "a", Value: make([]byte, MaxValue+1)}),
		"value: one of 134217729 bytes: expected at most 134217728")
	require.EqualError(t, s.Write(&store.Record{}), "key: expected one")
	require.EqualError(t, s.Write(nil), "key: expected one")
	require.ErrorContains(t, s.Write(&store.Record{Key: "a", Metadata: map[string]any{"f": func() {}}}), "metadata: json: unsupported type")
	require.EqualError(t, db.Blobs().Write(long+"k", strings.NewReader("x")), "key: one of 2001 bytes: expected at most 2000")
	require.EqualError(t, db.Blobs().Delete("a", store.BlobNamespace(name+"n")), "namespace: a name of 251 bytes: expected at most 250")

	// What is too long is not there.
	_, err = s.Read(long + "k")
	require.Equal(t, store.ErrNotFound, err)
}

// What Micro's command line gives a store beside a database and a table.
func TestInit(t *testing.T) {
	t.Parallel()
	db := open(t)
	s, other := db.Store(), db.Store()
	require.NoError(t, s.Init(store.Nodes("127.0.0.1:1"), store.Table("mine")))
	require.NoError(t, s.Init(store.Table("")))
	require.Equal(t, "mine", s.Options().Table)
	require.Equal(t, "micro", s.Options().Database)
	require.Equal(t, "micro", other.Options().Table)
	require.NoError(t, s.Write(&store.Record{Key: "a"}))
	found, err := s.Read("a", store.ReadFrom("micro", ""))
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = other.Read("a")
	require.Equal(t, store.ErrNotFound, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Write(&store.Record{Key: "b"}))
}

// What is looked for is found by the index, in its order, whatever it is.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := open(t)
	_, err := db.pool.Exec(t.Context(), `
		INSERT INTO store_records (in_database, in_table, key, value, expires)
		SELECT 'd', convert_to('t' || i % 3, 'UTF8'), convert_to('key/' || i, 'UTF8'), 'value'::bytea, CASE WHEN i % 2 = 0 THEN now() + interval '1 hour' END
		FROM generate_series(1, 20000) i`)
	require.NoError(t, err)
	_, err = db.pool.Exec(t.Context(), `ANALYZE store_records`)
	require.NoError(t, err)
	plan := func(query string, args ...any) string {
		rows, err := db.pool.Query(t.Context(), "EXPLAIN "+query, args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	for _, q := range []selection{
		{prefix: "key/12"}, {prefix: "key/12", descending: true}, {prefix: "key/", limit: 10}, {prefix: "key/", limit: 10, offset: 20, descending: true},
		{prefix: "key/123", suffix: "4"}, {limit: 10}, {prefix: "\xff"},
	} {
		q.database, q.table = []byte("d"), []byte("t1")
		text, args := q.sql("key, value")
		got := plan(text, args...)
		require.Contains(t, got, "store_records_pkey", got)
		require.Contains(t, got, "Index Cond: ((in_database = ", got)
		require.NotContains(t, got, "Seq Scan", got)
		if q.limit > 0 {
			require.NotContains(t, got, "Sort", got)
		}
	}
	got := plan(`SELECT FROM store_records WHERE expires <= now() ORDER BY expires LIMIT 500`)
	require.Contains(t, got, "store_records_expires", got)
}
