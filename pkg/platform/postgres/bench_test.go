//go:build platform

package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
)

// The store against what pgx does with the same payload on the same pool, one row by its key: go test -tags platform -bench .
func BenchmarkStore(b *testing.B) {
	const keys = 1000
	db := open(b)
	_, err := db.pool.Exec(b.Context(), `CREATE TABLE bare (key BYTEA PRIMARY KEY, value BYTEA NOT NULL)`)
	require.NoError(b, err)
	s, ctx, value := db.Store(), context.Background(), make([]byte, 200)
	key := func(i int) string { return fmt.Sprintf("key/%04d", i%keys) }
	operations := []struct {
		name string
		run  func(i int) error
	}{
		{"write/pgx", func(i int) error {
			_, err := db.pool.Exec(ctx, `INSERT INTO bare (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
				[]byte(key(i)), value)
			return err
		}},
		{"write/store", func(i int) error { return s.Write(&store.Record{Key: key(i), Value: value}) }},
		{"read/pgx", func(i int) error {
			var got []byte
			return db.pool.QueryRow(ctx, `SELECT value FROM bare WHERE key = $1`, []byte(key(i))).Scan(&got)
		}},
		{"read/store", func(i int) error { _, err := s.Read(key(i)); return err }},
	}
	for i := range keys {
		require.NoError(b, errors.Join(operations[0].run(i), operations[1].run(i)))
	}
	for _, callers := range []int{1, 16} {
		for _, o := range operations {
			b.Run(fmt.Sprintf("%s/%d", o.name, callers), func(b *testing.B) {
				var next atomic.Int64
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
							if err := o.run(i * 7919); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			})
		}
	}
}
