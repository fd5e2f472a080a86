// Events measures what events cost: with the events service and those that use it as processes of their own, authorised by
// tokens, and JetStream by itself beside it. A file has one figure, or a family of them, with the children that it takes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/service"
)

// roles are what children are for.
var roles = map[string]func() error{
	"events": runEvents, "publisher": runPublisher, "jetstream": runJetStream, "backlog": runBacklog,
}

// figures are measured one after the other, each with processes of its own.
var figures = []func(ctx context.Context, ps *process.Group, report *bench.Report) error{measurePublish, measureBacklog}

func main() {
	if role := process.Role(); role != "" {
		if err := play(role); err != nil {
			fmt.Printf("%s: %v\n", role, err) // the other side reads it
			os.Exit(1)
		}
		return
	}
	report := bench.NewReport(os.Stdout, "events")
	if err := run(report); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

// play is the main function of a child.
func play(role string) error {
	os.Args = os.Args[:1]
	f, ok := roles[role]
	if !ok {
		return errors.New("there is no such role")
	}
	return f()
}

func run(report *bench.Report) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// In bin, on the disk of the working copy: the system's temporary directory may be in memory, where syncing is free.
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
	env, err := process.Identities(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	for i, measure := range figures {
		ps := &process.Group{Dir: filepath.Join(dir, strconv.Itoa(i)), Env: append(env,
			"GOGC="+strconv.Itoa(service.GCPercent), "MICRO_PROFILE=test", "MICRO_REPORT_USAGE=false")}
		err := os.Mkdir(ps.Dir, 0o750)
		if err == nil {
			err = measure(ctx, ps, report)
		}
		ps.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}
