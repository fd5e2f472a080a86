// Platform measures what Micro's interfaces cost on the engines of the platform profile, beside what their clients do by
// themselves on the same servers. It needs etcd, Redis and PostgreSQL (bin/withengines).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

const (
	rounds = 5
	turn   = time.Second
)

func main() {
	process.Play(map[string]func() error{"registry-client": runRegistryClient})
	report := bench.NewReport(os.Stdout, "platform")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return run(ctx, report, dir) }); err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(ctx context.Context, report *bench.Report, dir string) error {
	if os.Getenv("MICRO_REDIS_ADDRESS") == "" {
		return errors.New("there are no servers to measure: install them (make platform-deps)")
	}
	for _, measure := range []func(context.Context, *bench.Report, string) error{measureStream, measureStore, measureRegistry} {
		if err := measure(ctx, report, dir); err != nil {
			return err
		}
	}
	return nil
}
