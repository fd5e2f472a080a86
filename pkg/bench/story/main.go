// Story measures the platform as a whole, as `make run` starts it: how fast people sign up, what a call costs that needs a
// key and is counted, and how much memory it takes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/m3o/backend/pkg/bench"
)

const (
	rounds = 5
	turn   = 2 * time.Second
	// callers is how many call at once, signers how many sign up at once.
	callers = 64
	signers = 16
)

func main() {
	report := bench.NewReport(os.Stdout, "story")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return run(ctx, report, dir) }); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(ctx context.Context, report *bench.Report, dir string) error {
	p, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer p.stop()
	fresh, freshEach, err := p.resident()
	if err != nil {
		return err
	}
	rate, err := p.signUps(ctx, 5*time.Second)
	if err != nil {
		return fmt.Errorf("sign-ups: %w", err)
	}
	report.AtLeast("sign-ups", rate, "/s", 100)

	key, err := p.customer(ctx)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	sold, open := p.caller("/v1/weather/Now", key), p.caller("/weather/Sample", "")
	rates, err := bench.Interleave(ctx, rounds, sold, open)
	if err != nil {
		return fmt.Errorf("calls: %w", err)
	}
	report.Figure("calls-through-the-gateway", rates[0], "calls/s")
	report.Figure("calls-without-it", rates[1], "calls/s")
	report.AtLeast("gateway-against-without", rates[0]/rates[1], "x", 0.6)

	used, usedEach, err := p.resident()
	if err != nil {
		return err
	}
	report.AtMost("memory-after-start", fresh, "MiB", 900)
	report.AtMost("memory-after-all-that", used, "MiB", 900)
	// The same with pages that several processes have counted for each of them.
	report.AtMost("rss-after-start", freshEach, "MiB", 900)
	report.Figure("rss-after-all-that", usedEach, "MiB")
	return nil
}
