package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/events/stream"
)

// backlog is how many events nobody has consumed.
const backlog = 1_000_000

// measureBacklog measures the memory of the events service with a backlog: when it has been published, and when a group has
// been through all of it.
func measureBacklog(ctx context.Context, ps *process.Group, report *bench.Report) error {
	service, err := startEvents(ps)
	if err != nil {
		return err
	}
	user, err := ps.Start("backlog", service.Address)
	if err != nil {
		return err
	}
	used := 0.0
	for _, what := range []string{"publish", "consume"} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rate, err := user.Ask(fmt.Sprintf("%s %d", what, backlog))
		if err != nil {
			return err
		}
		report.Figure("backlog-"+what, rate, "events/s")
		now, err := service.Resident()
		if err != nil {
			return err
		}
		report.Figure("backlog-memory-"+what, now, "MiB")
		used = max(used, now)
	}
	report.AtMost("memory-of-events-with-1000000", used, "MiB", 150)
	return nil
}

// runBacklog publishes and consumes as it is told.
func runBacklog() error {
	if err := user(); err != nil {
		return err
	}
	s, ok := events.DefaultStream.(stream.Stream)
	if !ok {
		return errors.New("the stream is none of ours")
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var what string
		var n int
		if _, err := fmt.Sscan(in.Text(), &what, &n); err != nil {
			return err
		}
		work := map[string]func(context.Context, stream.Stream, int) error{"publish": publishAll, "consume": consumeAll}[what]
		began := time.Now()
		if err := work(context.Background(), s, n); err != nil {
			return err
		}
		fmt.Println(float64(n) / time.Since(began).Seconds())
	}
	return nil
}

func publishAll(ctx context.Context, s stream.Stream, n int) error {
	for ; n > 0; n -= stream.MaxBatch {
		batch := make([]*events.Event, min(n, stream.MaxBatch))
		for i := range batch {
			batch[i] = &events.Event{Topic: topic, Payload: payload}
		}
		if _, err := s.PublishBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func consumeAll(ctx context.Context, s stream.Stream, n int) error {
	sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "backlog"})
	if err != nil {
		return err
	}
	for n > 0 {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		tags := make([]uint64, len(batch))
		for i, d := range batch {
			tags[i] = d.Tag
		}
		if err := sub.Ack(tags...); err != nil {
			return err
		}
		n -= len(batch)
	}
	return sub.Close()
}
