package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/postgres"
)

// records is how many there are.
const records = 10_000

// measureStore compares the store with a bare table of the same key and value, read and written by key.
func measureStore(ctx context.Context, report *bench.Report, _ string) (err error) {
	config, err := postgres.ReadConfig()
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, config)
	if err != nil {
		return err
	}
	defer db.Close()
	bare, err := pgxpool.New(ctx, os.Getenv(engine.PostgresEnv)+"&pool_max_conns=16")
	if err != nil {
		return err
	}
	defer bare.Close()
	const make = `DROP TABLE IF EXISTS bench_records; CREATE TABLE bench_records (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL)`
	if _, err := bare.Exec(ctx, make); err != nil {
		return err
	}

	const (
		upsert = `INSERT INTO bench_records (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`
		find   = `SELECT value FROM bench_records WHERE key = $1`
	)
	kept := db.Store()
	writes := []process.Caller{
		func(context.Context) error {
			return kept.Write(&store.Record{Key: key(anyRecord()), Value: payload})
		},
		func(ctx context.Context) error {
			_, err := bare.Exec(ctx, upsert, key(anyRecord()), payload)
			return err
		},
	}
	reads := []process.Caller{
		func(context.Context) error {
			found, err := kept.Read(key(anyRecord()))
			if err == nil && len(found[0].Value) != len(payload) {
				err = errors.New("another value")
			}
			return err
		},
		func(ctx context.Context) error {
			var value []byte
			return bare.QueryRow(ctx, find, key(anyRecord())).Scan(&value)
		},
	}
	for i := range records {
		if err := kept.Write(&store.Record{Key: key(i), Value: payload}); err != nil {
			return err
		}
		if _, err := bare.Exec(ctx, upsert, key(i), payload); err != nil {
			return err
		}
	}
	for _, callers := range []int{1, 16} {
		for name, sides := range map[string][]process.Caller{"read": reads, "write": writes} {
			medians, err := bench.Interleave(ctx, rounds, calling(sides[0], callers), calling(sides[1], callers))
			if err != nil {
				return err
			}
			report.Figure(fmt.Sprintf("store-%s-%d", name, callers), medians[0], "calls/s")
			report.Figure(fmt.Sprintf("pgx-%s-%d", name, callers), medians[1], "calls/s")
			report.AtLeast(fmt.Sprintf("store-%s-%d-against-bare", name, callers), medians[0]/medians[1], "x", 0.7)
		}
	}
	return nil
}

// anyRecord is the number of any record.
func anyRecord() int { return rand.IntN(records) } //nolint:gosec // no secret

func key(i int) string { return fmt.Sprintf("customers/%06d", i) }

func calling(caller process.Caller, callers int) bench.Side {
	return func(ctx context.Context) (float64, error) {
		return process.Measure(ctx, func() (process.Caller, error) { return caller, nil }, callers, turn)
	}
}
