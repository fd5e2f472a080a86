// Events measures what events cost, from the outbox of one service to the effect in another.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

func main() {
	process.Play(roles)
	report := bench.NewReport(os.Stdout, "events")
	if err := run(report); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(report *bench.Report) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := os.MkdirAll("bin", 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("bin", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := measureOutbox(ctx, report, dir); err != nil {
		return err
	}
	if err := measureInbox(ctx, report, dir); err != nil {
		return err
	}
	return measurePipeline(ctx, report, dir)
}
