package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	microevents "github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/server"

	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/core"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/service"
)

// dirEnv is where a child keeps what it keeps.
const dirEnv = "BENCH_EVENTS_DIR"

var roles = map[string]func() error{
	"events": runEvents, "caller": runCaller, "publisher": runPublisher, "consumer": runConsumer,
}

// runEvents is the events service.
func runEvents() error {
	srv := service.New("events")
	if err := process.UseAuth(); err != nil {
		return err
	}
	if err := srv.Server().Init(server.Address(os.Getenv(process.AddressEnv))); err != nil {
		return err
	}
	stream, err := profile.OpenStream(os.Getenv(process.ProfileEnv))
	if err != nil {
		return err
	}
	if err := core.ServeEvents(srv, stream); err != nil {
		return err
	}
	return srv.Run()
}

// join makes this process a service of the platform, whose events service is where the environment says.
func join(name string) (*service.Service, error) {
	srv := service.New(name)
	if err := process.UseAuth(); err != nil {
		return nil, err
	}
	return srv, registry.DefaultRegistry.Register(&registry.Service{
		Name: "events", Version: "latest", Nodes: []*registry.Node{{Id: "events", Address: os.Getenv(process.AddressEnv)}},
	})
}

// runCaller publishes as anybody does who knows Micro.
func runCaller() error {
	if _, err := join("trusted"); err != nil {
		return err
	}
	payload := make([]byte, 200)
	return process.Obey(func() (process.Caller, error) {
		return func(context.Context) error { return microevents.Publish("single", payload) }, nil
	})
}

// bus opens the database and the bus of a child.
func bus(name string) (*database.DB, *events.Bus, error) {
	srv, err := join(name)
	if err != nil {
		return nil, nil, err
	}
	db, err := open("sqlite3", filepath.Join(os.Getenv(dirEnv), name+".db"))
	if err != nil {
		return nil, nil, err
	}
	b, err := events.Open(srv, db)
	return db, b, err
}

// perTransaction is how many events the publisher adds at once, as a service does that answers a batch of requests.
const perTransaction = 100

// runPublisher adds as many events to its outbox as it is told, in transactions of so many events.
func runPublisher() error {
	db, b, err := bus("publisher")
	if err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var n, size int
		if _, err := fmt.Sscan(in.Text(), &n, &size); err != nil {
			return err
		}
		for number := 0; number < n; {
			drafts := make([]events.Draft, size)
			for i := range drafts {
				drafts[i] = draft(fmt.Sprint("customer ", number%1000), time.Now().UnixNano())
				number++
			}
			if err := db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
				return b.Add(ctx, tx, drafts...)
			}); err != nil {
				return err
			}
		}
		fmt.Println(n)
	}
	return nil
}

// runConsumer counts events. Told a number, it answers when it has had the effect of so many more; told 0, how many
// milliseconds the last one took from its commit to its handler.
func runConsumer() error {
	_, b, err := bus("consumer")
	if err != nil {
		return err
	}
	handled := newCounter()
	var delay atomic.Int64
	count := counting(handled, func(e *events.Event) string { return e.Aggregate })
	if err := b.Consume(events.Consumer{Topic: "bench", Handle: events.Batch(
		func(ctx context.Context, tx database.Querier, batch []*events.Event, messages []*testproto.Happened) error {
			delay.Store(int64(time.Since(time.Unix(0, messages[len(messages)-1].Number))))
			return count(ctx, tx, batch)
		})}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var n int
		if _, err := fmt.Sscan(in.Text(), &n); err != nil {
			return err
		}
		if n < 0 { // begin
			if err := b.Start(); err != nil {
				return err
			}
			fmt.Println(0)
			continue
		}
		if n == 0 {
			fmt.Println(float64(delay.Load()) / float64(time.Millisecond))
			continue
		}
		if err := handled.wait(n); err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}
