// Events measures what events cost, from the outbox of one service to the effect in another. With -profile platform the events
// service keeps them in Redis, and nothing is measured but their way; there are no bars then, as those of the embedded profile
// are the figures to compare with.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

func main() {
	process.Play(roles)
	report, err := process.NewReport("events")
	if err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return run(ctx, report, dir) }); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(ctx context.Context, report *bench.Report, dir string) error {
	if os.Getenv(process.ProfileEnv) != "" {
		return measurePipeline(ctx, report, dir)
	}
	if err := measureOutbox(ctx, report, dir); err != nil {
		return err
	}
	if err := measureInbox(ctx, report, dir); err != nil {
		return err
	}
	return measurePipeline(ctx, report, dir)
}
