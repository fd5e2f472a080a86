package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/internal/testproto"
)

const (
	// writers write to PostgreSQL at once, which gathers their commits.
	writers = 16
	long    = 3 * time.Second
)

// draft is an event as large as one about a customer.
func draft(aggregate string, number int64) events.Draft {
	return events.Draft{Topic: "bench", Aggregate: aggregate, Message: &testproto.Happened{
		Type: testproto.HappenedType_HAPPENED_TYPE_MADE, Number: number,
		Name: "jane@example.com, who is called Jane Doe, and as much again as her other fields have",
	}}
}

// measureOutbox measures transactions that change the state and add an event about it.
func measureOutbox(ctx context.Context, report *bench.Report, dir string) error {
	return withDatabases(dir, "bench_outbox", func(db *database.DB) error {
		bus, err := events.New(ctx, events.Config{DB: db, Stream: canned{}})
		if err != nil {
			return err
		}
		n := 1
		if db.Dialect() == database.PostgreSQL {
			n = writers
		}
		var wg sync.WaitGroup
		var done atomic.Int64
		failed := make(chan error, n)
		began := time.Now()
		for range n {
			wg.Go(func() {
				for time.Since(began) < long {
					id := uuid.NewString()
					err := db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
						if _, err := tx.Exec(ctx, `INSERT INTO bench_states (id, value) VALUES ($1, $2)`, id, "a state"); err != nil {
							return err
						}
						return bus.Add(ctx, tx, draft(id, 1))
					})
					if err != nil {
						failed <- err
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		close(failed)
		report.AtLeast(fmt.Sprintf("state-and-outbox-%s", db.Dialect()), float64(done.Load())/took.Seconds(), "tx/s", 2500)
		return <-failed
	})
}
