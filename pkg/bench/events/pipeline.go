package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
)

const (
	pipelineEvents = 200_000
	backlog        = 1_000_000
	idleEvents     = 201
)

// measurePipeline measures the way of events from the outbox of one service through the events service to the effect in
// another, and what publishing with Micro alone costs. Each of them is a process.
func measurePipeline(_ context.Context, report *bench.Report, dir string) error {
	keys := filepath.Join(dir, "keys")
	token, err := process.CreateKeys(keys)
	if err != nil {
		return err
	}
	ps := &process.Group{Dir: dir, Env: []string{
		"MICRO_PROFILE=test", "MICRO_REPORT_USAGE=false",
		process.KeysEnv + "=" + keys, process.TokenEnv + "=" + token, dirEnv + "=" + dir,
	}}
	defer ps.Stop()
	stream, err := ps.Serve("events")
	if err != nil {
		return err
	}
	publisher, err := ps.Start("publisher", stream.Address)
	if err != nil {
		return err
	}
	consumer, err := ps.Start("consumer", stream.Address)
	if err != nil {
		return err
	}
	if err := measureBacklog(report, stream, publisher, consumer); err != nil {
		return err
	}
	if err := measureThroughput(report, publisher, consumer); err != nil {
		return err
	}
	if err := measureDelay(report, publisher, consumer); err != nil {
		return err
	}
	caller, err := ps.Start("caller", stream.Address)
	if err != nil {
		return err
	}
	for callers, bar := range map[int]float64{1: 4500, 64: 20_000} {
		side := caller.Side(callers, 2*time.Second)
		medians, err := bench.Interleave(context.Background(), 3, side)
		if err != nil {
			return err
		}
		report.AtLeast(fmt.Sprintf("micro-publish-%d", callers), medians[0], "events/s", bar)
	}
	return nil
}

// measureBacklog lets a million events pile up before the consumer is there, and looks at the memory of everybody while it
// works them off.
func measureBacklog(report *bench.Report, stream, publisher, consumer *process.Process) error {
	if _, err := publisher.Ask(fmt.Sprint(backlog, perTransaction)); err != nil {
		return err
	}
	piled, err := stream.Resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "events: with the backlog the events service has %.0f MiB\n", piled)
	if _, err := consumer.Ask("-1"); err != nil {
		return err
	}
	began := time.Now()
	most := map[string]float64{"events": piled}
	for left := backlog; left > 0; {
		part := min(50_000, left)
		if _, err := consumer.Ask(strconv.Itoa(part)); err != nil {
			return err
		}
		left -= part
		for name, p := range map[string]*process.Process{"events": stream, "consumer": consumer} {
			used, err := p.Resident()
			if err != nil {
				return err
			}
			most[name] = max(most[name], used)
		}
	}
	report.Figure("backlog-worked-off", backlog/time.Since(began).Seconds(), "events/s")
	report.AtMost("memory-of-events-service", most["events"], "MiB", 150)
	report.AtMost("memory-of-consumer", most["consumer"], "MiB", 150)
	return nil
}

// measureThroughput measures events from the first commit to the last effect.
func measureThroughput(report *bench.Report, publisher, consumer *process.Process) error {
	medians, err := bench.Interleave(context.Background(), 3, func(context.Context) (float64, error) {
		began := time.Now()
		published := make(chan error, 1)
		go func() {
			_, err := publisher.Ask(fmt.Sprint(pipelineEvents, perTransaction))
			published <- err
		}()
		if _, err := consumer.Ask(strconv.Itoa(pipelineEvents)); err != nil {
			return 0, err
		}
		took := time.Since(began)
		return pipelineEvents / took.Seconds(), <-published
	})
	if err != nil {
		return err
	}
	report.AtLeast("outbox-to-effect", medians[0], "events/s", 20_000)
	return nil
}

// measureDelay measures how long a single event takes from its commit to its handler, when nothing else happens.
func measureDelay(report *bench.Report, publisher, consumer *process.Process) error {
	delays := make([]float64, 0, idleEvents)
	for range idleEvents {
		time.Sleep(10 * time.Millisecond)
		if _, err := publisher.Ask("1 1"); err != nil {
			return err
		}
		if _, err := consumer.Ask("1"); err != nil {
			return err
		}
		delay, err := consumer.Ask("0")
		if err != nil {
			return err
		}
		delays = append(delays, delay)
	}
	report.AtMost("commit-to-handler-idle", bench.Median(delays), "ms", 10)
	return nil
}
