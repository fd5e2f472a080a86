package database_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

func TestValues(t *testing.T) {
	t.Parallel()
	require.Equal(t, "($1)", database.Values(1, 1))
	require.Equal(t, "($1, $2), ($3, $4), ($5, $6)", database.Values(3, 2))
	require.Equal(t, "($1, $2), ($3, $4), ($5, $6)", database.Values(3, 2))
}

func TestChunksAreTheWholeInFewSizes(t *testing.T) {
	t.Parallel()
	sizes := make(map[int]bool)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5000).Draw(t, "n")
		next := 0
		for from, to := range database.Chunks(n) {
			require.Equal(t, next, from)
			require.Greater(t, to, from)
			sizes[to-from] = true
			next = to
		}
		require.Equal(t, n, next)
	})
	require.LessOrEqual(t, len(sizes), 6)
}

func TestChunksCanBeLeft(t *testing.T) {
	t.Parallel()
	n := 0
	for range database.Chunks(3000) {
		n++
		break
	}
	require.Equal(t, 1, n)
}

// A part's tables stand beside the service's own, under the service's name.
func TestExtend(t *testing.T) {
	t.Parallel()
	own := fstest.MapFS{"00001_own.sql": {Data: []byte("-- +goose Up\nCREATE TABLE shop_things (id TEXT NOT NULL PRIMARY KEY);\n-- +goose Down\nDROP TABLE shop_things;\n")}}
	part := fstest.MapFS{"00001_part.sql": {Data: []byte("-- +goose Up\nCREATE TABLE SERVICE_numbered (position BIGSERIAL PRIMARY KEY, name TEXT COLLATE \"C\" NOT NULL);\n-- +goose Down\nDROP TABLE SERVICE_numbered;\n")}}
	databasetest.Each(t, "shop", own, func(t *testing.T, db *database.DB) {
		require.Equal(t, "shop", db.Name())
		for range 2 { // the second time there is nothing to do
			require.NoError(t, db.Extend(t.Context(), "part", part))
		}
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			for _, name := range []string{"a", "b"} {
				if _, err := tx.Exec(ctx, `INSERT INTO shop_numbered (name) VALUES ($1)`, name); err != nil {
					return err
				}
			}
			return nil
		}))
		var position int64
		require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT position FROM shop_numbered WHERE name = 'b'`).Scan(&position))
		require.EqualValues(t, 2, position)
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))

		newer := fstest.MapFS{"00001_part.sql": part["00001_part.sql"], "00002_more.sql": {Data: []byte("-- +goose Up\nCREATE TABLE SERVICE_more (id BIGINT);\n-- +goose Down\nDROP TABLE SERVICE_more;\n")}}
		require.NoError(t, db.Extend(t.Context(), "part", newer))
		require.ErrorContains(t, db.Extend(t.Context(), "part", part), "run a newer binary")
	})
}

func TestAfterCommit(t *testing.T) {
	t.Parallel()
	own := fstest.MapFS{"00001_own.sql": {Data: []byte("-- +goose Up\nCREATE TABLE shop_things (id TEXT NOT NULL PRIMARY KEY);\n-- +goose Down\nDROP TABLE shop_things;\n")}}
	db := databasetest.Open(t, "shop", own)
	var called []string
	before := 0
	insert := func(id string) func(ctx context.Context, tx database.Querier) error {
		return func(ctx context.Context, tx database.Querier) error {
			database.AfterCommit(ctx, func() { called = append(called, id) })
			_, err := tx.Exec(ctx, `INSERT INTO shop_things (id) VALUES ($1)`, id)
			require.Equal(t, before, len(called))
			return err
		}
	}
	require.NoError(t, db.Tx(t.Context(), insert("a")))
	require.Equal(t, []string{"a"}, called)
	before = 1
	require.Error(t, db.Tx(t.Context(), insert("a")))
	require.Equal(t, []string{"a"}, called)
	database.AfterCommit(t.Context(), func() { called = append(called, "at once") })
	require.Equal(t, []string{"a", "at once"}, called)
}
