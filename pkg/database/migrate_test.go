package database_test

import (
	"context"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

func TestUpDownUp(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		db := s.Open(t, "bench", second)
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			return add(ctx, tx, 1, "a", nil)
		}))
		require.NoError(t, db.Up(t.Context()), "there is nothing to do")
		assert.Equal(t, 1, count(t, db))
		require.NoError(t, db.Down(t.Context()))
		require.Error(t, db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM bench_notes`).Scan(new(int)))
		require.NoError(t, db.Up(t.Context()))
		assert.Equal(t, 0, count(t, db))
	})
}

func TestUpgradeKeepsData(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		old := s.Open(t, "bench", first)
		write := func(db *database.DB, id int64) {
			require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				return add(ctx, tx, id, "a", nil)
			}))
		}
		write(old, 1)
		upgraded := s.Open(t, "bench", second)
		write(upgraded, 2)
		write(old, 3) // a rolling upgrade: the old one still runs
		assert.Equal(t, 3, count(t, upgraded))
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		s.Open(t, "bench", second)
		_, err := database.New(database.Config{Name: "bench", Pool: s.Pool(t), Migrations: first})
		require.EqualError(t, err, "the database of bench is at migration 2 and this binary knows 1: run a newer binary")
	})
}

func TestBrokenMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	broken := fstest.MapFS{
		"00001_notes.sql": first["00001_notes.sql"],
		"00002_half.sql":  migration(`CREATE TABLE bench_half (id BIGINT); INSERT INTO bench_nothing VALUES (1)`, `DROP TABLE bench_half`),
	}
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		_, err := database.New(database.Config{Name: "bench", Pool: s.Pool(t), Migrations: broken})
		require.ErrorContains(t, err, "migrate the database of bench")
		db := s.Open(t, "bench", first) // it is still at the first
		require.Error(t, db.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM bench_half`).Scan(new(int)))
	})
}

func TestServicesShareADatabase(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		s.Open(t, "bench", second)
		other := s.Open(t, "other", fstest.MapFS{
			"00001_things.sql": migration(`CREATE TABLE other_things (id BIGINT)`, `DROP TABLE other_things`),
		})
		require.NoError(t, other.Down(t.Context()))
		assert.Equal(t, 0, count(t, s.Open(t, "bench", second)))
	})
}

func TestManyStartAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.EachSource(t, func(t *testing.T, s databasetest.Source) {
		var wg sync.WaitGroup
		for range 8 {
			pool := s.Pool(t)
			wg.Go(func() {
				db, err := database.New(database.Config{Name: "bench", Pool: pool, Migrations: second})
				if assert.NoError(t, err) {
					assert.NoError(t, db.Close())
				}
			})
		}
		wg.Wait()
	})
}
