// Customers measures the service that everybody asks who a customer is and what a key is good for: reading and verifying against
// a call that does nothing else, creating, and what many customers and keys make of it. Without PostgreSQL, whose address is in
// TEST_POSTGRES_ADDRESS, it measures SQLite alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

const (
	// few and many are how many customers there are; each has so many keys. On SQLite there are few.
	few, many   = 1_000, 1_000_000
	keysOfEach  = 3
	postgresEnv = "TEST_POSTGRES_ADDRESS"
)

func main() {
	process.Play(roles)
	report := bench.NewReport(os.Stdout, "customers")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return run(ctx, report, dir) }); err != nil {
		fmt.Fprintln(os.Stderr, "customers:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(ctx context.Context, report *bench.Report, dir string) error {
	err := withSQLite(dir, func(s source) error {
		if err := s.seed(ctx); err != nil {
			return err
		}
		return measureCalls(ctx, report, dir, s)
	})
	if err != nil {
		return err
	}
	if os.Getenv(postgresEnv) == "" {
		fmt.Fprintf(os.Stderr, "customers: PostgreSQL is not measured: %s is not set\n", postgresEnv)
		return nil
	}
	return withPostgres(ctx, "bench_few", few, func(small source) error {
		return withPostgres(ctx, "bench_many", many, func(large source) error {
			if err := small.seed(ctx); err != nil {
				return err
			}
			took, err := timed(func() error { return large.seed(ctx) })
			if err != nil {
				return err
			}
			report.AtMost("seed-1000000-postgres", took.Seconds(), "s", 180)
			return errors.Join(measurePages(ctx, report, small, large), measureCalls(ctx, report, dir, large))
		})
	})
}
