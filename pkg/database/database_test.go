package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

// migration makes a migration of two statements.
func migration(up, down string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + up + ";\n-- +goose Down\n" + down + ";\n")}
}

var first = fstest.MapFS{
	"00001_notes.sql": migration(`
		CREATE TABLE bench_notes (
			id     BIGINT NOT NULL PRIMARY KEY,
			text   TEXT COLLATE "C" NOT NULL CHECK (text <> ''),
			writer BIGINT REFERENCES bench_notes (id),
			UNIQUE (text, writer)
		)`, `DROP TABLE bench_notes`),
}

var second = fstest.MapFS{
	"00001_notes.sql": first["00001_notes.sql"],
	"00002_likes.sql": migration(`ALTER TABLE bench_notes ADD COLUMN likes BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE bench_notes DROP COLUMN likes`),
}

func add(ctx context.Context, tx database.Querier, id int64, text string, writer any) error {
	_, err := tx.Exec(ctx, `INSERT INTO bench_notes (id, text, writer) VALUES ($1, $2, $3)`, id, text, writer)
	return err
}

func count(t *testing.T, db *database.DB) int {
	t.Helper()
	var n int
	require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM bench_notes`).Scan(&n))
	return n
}

func each(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	databasetest.Each(t, "bench", first, f)
}

func TestMain(m *testing.M) {
	if child() {
		return
	}
	os.Exit(m.Run())
}

func TestArguments(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *database.DB) {
		var a, b, c, d string
		err := db.Read().QueryRow(t.Context(),
			`SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($2 AS TEXT), '$1 FOR UPDATE ''$2'`, "one", "two").Scan(&a, &b, &c, &d)
		require.NoError(t, err)
		assert.Equal(t, []string{"two", "one", "two", "$1 FOR UPDATE '$2"}, []string{a, b, c, d})
	})
}

func TestTx(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	each(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		require.NoError(t, db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			require.NoError(t, add(ctx, tx, 1, "kept", nil))
			var text string
			return tx.QueryRow(ctx, `SELECT text FROM bench_notes WHERE id = $1 FOR UPDATE`, 1).Scan(&text)
		}))
		assert.Equal(t, boom, db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			require.NoError(t, add(ctx, tx, 2, "error", nil))
			return boom
		}))
		assert.PanicsWithValue(t, "boom", func() {
			_ = db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
				require.NoError(t, add(ctx, tx, 3, "panic", nil))
				panic("boom")
			})
		})
		assert.ErrorContains(t, db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			require.NoError(t, add(ctx, tx, 4, "inside", nil))
			return db.Tx(ctx, func(context.Context, database.Querier) error { return nil })
		}), "inside of another")
		assert.Equal(t, 1, count(t, db))

		err := db.Read().QueryRow(ctx, `SELECT text FROM bench_notes WHERE id = $1`, 2).Scan(new(string))
		assert.ErrorIs(t, err, sql.ErrNoRows)
	})
}

// A context that ends inside of a transaction makes database/sql throw the connection away. The next one must be as good.
func TestEndOfContext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *database.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			require.NoError(t, add(ctx, tx, 1, "lost", nil))
			cancel()
			return add(ctx, tx, 2, "lost", nil)
		})
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 0, count(t, db))
		err = db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return add(ctx, tx, 1, "a", 77) })
		var violated *database.ConstraintError
		require.ErrorAs(t, err, &violated)
		assert.Equal(t, database.ForeignKey, violated.Constraint)
	})
}

func TestConstraints(t *testing.T) {
	t.Parallel()
	const secret = "jane@example.com"
	each(t, func(t *testing.T, db *database.DB) {
		write := func(id int64, text, writer any) error {
			return db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				_, err := tx.Exec(ctx, `INSERT INTO bench_notes (id, text, writer) VALUES ($1, $2, $3)`, id, text, writer)
				return err
			})
		}
		require.NoError(t, write(1, secret, 1))
		for name, tc := range map[string]struct {
			err     error
			sort    database.Constraint
			columns []string
		}{
			"key":         {write(1, "other", 1), database.Unique, []string{"id"}},
			"unique":      {write(2, secret, 1), database.Unique, []string{"text", "writer"}},
			"foreign key": {write(2, secret, 99), database.ForeignKey, nil},
			"not null":    {write(2, nil, 1), database.NotNull, []string{"text"}},
			"check":       {write(2, "", 1), database.Check, nil},
		} {
			var violated *database.ConstraintError
			require.ErrorAs(t, tc.err, &violated, name)
			assert.Equal(t, tc.sort, violated.Constraint, name)
			assert.Equal(t, tc.columns, violated.Columns, name)
			assert.NotContains(t, tc.err.Error(), secret, name)
			assert.Equal(t, tc.sort == database.Unique, database.IsUnique(tc.err, tc.columns...), name)
		}
		if db.Dialect() == database.PostgreSQL {
			err := db.Read().QueryRow(t.Context(), `SELECT CAST($1 AS TEXT)::BIGINT`, secret).Scan(new(int64))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), secret)
		}
	})
}

// What Read gives cannot be used to write around the one writer.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "bench", first)
	rows, err := db.Read().Query(t.Context(), `INSERT INTO bench_notes (id, text) VALUES (1, 'a') RETURNING id`)
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			assert.Fail(t, "it was written")
		}
		err = rows.Err()
	}
	assert.ErrorContains(t, err, "readonly")
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	const writers, each20 = 32, 20
	each(t, func(t *testing.T, db *database.DB) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each20 {
					id := int64(w*each20 + i + 1)
					assert.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
						return add(ctx, tx, id, fmt.Sprint("note ", id), nil)
					}))
					var n int
					assert.NoError(t, db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM bench_notes WHERE id = $1`, id).Scan(&n))
					assert.Equal(t, 1, n, "what was committed can be read")
				}
			})
		}
		wg.Wait()
		assert.Equal(t, writers*each20, count(t, db))
	})
}

// A transaction that reads and then writes what it has read must not lose what others write meanwhile.
func TestNoLostUpdates(t *testing.T) {
	t.Parallel()
	const writers, rounds = 8, 25
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		db := s.Open(t, "bench", second)
		other := s.Open(t, "bench", second) // as another process would
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return add(ctx, tx, 1, "counted", nil)
		}))
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range rounds {
					assert.NoError(t, []*database.DB{db, other}[w%2].Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
						var n int
						if err := tx.QueryRow(ctx, `SELECT likes FROM bench_notes WHERE id = 1 FOR UPDATE`).Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, `UPDATE bench_notes SET likes = $1 WHERE id = 1`, n+1)
						return err
					}))
				}
			})
		}
		wg.Wait()
		var n int
		require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT likes FROM bench_notes WHERE id = 1`).Scan(&n))
		assert.Equal(t, writers*rounds, n)
	})
}

// Two that take the same rows in different order are sorted out by the database, and the one that loses tries again.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		db := s.Open(t, "bench", second)
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return errors.Join(add(ctx, tx, 1, "a", nil), add(ctx, tx, 2, "b", nil))
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for _, order := range [][]int{{1, 2}, {2, 1}} {
			wg.Go(func() {
				for range 20 {
					assert.NoError(t, db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
						for _, id := range order {
							if _, err := tx.Exec(ctx, `UPDATE bench_notes SET likes = likes + 1 WHERE id = $1`, id); err != nil {
								return err
							}
						}
						return nil
					}))
				}
			})
		}
		wg.Wait()
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	pool := databasetest.SQLite(t).Pool(t)
	for want, cfg := range map[string]database.Config{
		"the name":               {Name: "Bench; DROP", Pool: pool, Migrations: first},
		"a pool is missing":      {Name: "bench", Migrations: first},
		"migrations are missing": {Name: "bench", Pool: pool},
	} {
		_, err := database.New(cfg)
		assert.ErrorContains(t, err, want)
	}
	_, err := database.New(database.Config{Name: "bench", Pool: pool, Migrations: fstest.MapFS{}})
	assert.ErrorContains(t, err, "the migrations of bench are missing")
}

func child() bool { return crash(os.Getenv(crashMode)) }
