package events_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver for SQLite that Micro uses
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/broker/memory"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/stream"
	batchpb "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/jetstream"
	"github.com/m3o/backend/pkg/platform/supervisor"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
)

// The test binary is the events service, a publisher or a consumer as well, so that there is something to kill.
const (
	roleEnv    = "EVENTS_TEST_ROLE"
	addressEnv = "EVENTS_TEST_ADDRESS" // of the events service
	dirEnv     = "EVENTS_TEST_DIR"     // where the process keeps what it keeps
	countEnv   = "EVENTS_TEST_COUNT"   // how many events the publisher publishes
)

// accounts are how many aggregates the events of the publisher are about.
const accounts = 50

// play is the main function of a child.
func play(role string) error {
	supervisor.EndWithParent()
	switch role {
	case "stream":
		return playStream()
	case "publisher":
		return playPublisher()
	case "consumer":
		return playConsumer()
	}
	return errors.New("there is no such role")
}

// say tells the test something.
func say(what string) { _, _ = fmt.Fprintln(os.Stdout, what) }

// untilStopped tells the test that the process is ready, and waits for its SIGTERM.
func untilStopped(what string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	say(what)
	<-stop
}

// playStream is the events service, as far as other services see it.
func playStream() error {
	engine, err := jetstream.Open(jetstream.Config{Dir: os.Getenv(dirEnv)})
	if err != nil {
		return err
	}
	go func() {
		<-engine.Failed()
		fmt.Fprintln(os.Stderr, engine.Err())
		os.Exit(1)
	}()
	s, err := service.NewServer(grpcserver.NewServer(
		server.Name("events"), server.Address(os.Getenv(addressEnv)),
		server.Registry(registry.NewRegistry()), server.Broker(memory.NewBroker()),
	), func(string) (*auth.Account, error) { return token.ServiceAccount("shop-latest", "shop"), nil })
	if err != nil {
		return err
	}
	if err := batchpb.RegisterBatchHandler(s, stream.NewHandler(engine)); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	untilStopped("ready")
	return nil // as if it were killed
}

// client is the stream as a service of the platform has it.
func client() stream.Stream {
	return stream.NewClient(direct.New(direct.Config{
		Registry: registry.NewRegistry(), Fixed: map[string]string{"events": os.Getenv(addressEnv)},
		Credentials: func() (string, string) { return "micro", "any" },
	}))
}

// bank is what publisher and consumer keep: of each account, how often something has happened to it.
var bank = fstest.MapFS{"00001_bank.sql": {Data: []byte(`-- +goose Up
CREATE TABLE shop_accounts (name TEXT NOT NULL PRIMARY KEY, number BIGINT NOT NULL);
CREATE TABLE shop_effects (
    position BIGSERIAL PRIMARY KEY,
    name     TEXT   NOT NULL,
    number   BIGINT NOT NULL
);
-- +goose Down
DROP TABLE shop_effects;
DROP TABLE shop_accounts;
`)}}

func openBank(dir string) (*database.DB, error) {
	pool, err := sql.Open("sqlite3", dir+"/bank.db")
	if err != nil {
		return nil, err
	}
	return database.New(database.Config{Name: "shop", Pool: pool, Migrations: fs.FS(bank)})
}

// playPublisher changes accounts and publishes that it has, until there were as many changes as it was told. It goes on with
// what a predecessor has left.
func playPublisher() error {
	db, err := openBank(os.Getenv(dirEnv))
	if err != nil {
		return err
	}
	ctx := context.Background()
	bus, err := events.New(ctx, events.Config{DB: db, Stream: client(), Settle: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	if err := bus.Start(); err != nil {
		return err
	}
	say("ready")
	most, err := strconv.Atoi(os.Getenv(countEnv))
	if err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = change(ctx, db, bus, most); err != nil {
			return err
		}
	}
	for left := 1; left > 0; <-time.After(10 * time.Millisecond) {
		if err := db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM shop_outbox`).Scan(&left); err != nil {
			return err
		}
	}
	untilStopped("done")
	return nil
}

// change changes some accounts, unless there were enough changes.
func change(ctx context.Context, db *database.DB, bus *events.Bus, most int) (done bool, err error) {
	err = db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		var total int
		if err := tx.QueryRow(ctx, `SELECT COALESCE(SUM(number), 0) FROM shop_accounts`).Scan(&total); err != nil {
			return err
		}
		if done = total >= most; done {
			return nil
		}
		for range min(1+rand.IntN(50), most-total) {
			name := fmt.Sprint("account ", rand.IntN(accounts))
			var number int64
			if err := tx.QueryRow(ctx, `
				INSERT INTO shop_accounts (name, number) VALUES ($1, 1)
				ON CONFLICT (name) DO UPDATE SET number = shop_accounts.number + 1 RETURNING number`, name).Scan(&number); err != nil {
				return err
			}
			if err := bus.Add(ctx, tx, made(name, number)); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// playConsumer notes what it hears.
func playConsumer() error {
	db, err := openBank(os.Getenv(dirEnv))
	if err != nil {
		return err
	}
	bus, err := events.New(context.Background(), events.Config{DB: db, Stream: client()})
	if err != nil {
		return err
	}
	err = bus.Consume(events.Consumer{Topic: topic, GapWait: time.Hour, Handle: events.Batch(
		func(ctx context.Context, tx database.Querier, batch []*events.Event, messages []*testproto.Happened) error {
			for from, to := range database.Chunks(len(messages)) {
				var args []any
				for _, m := range messages[from:to] {
					args = append(args, m.Name, m.Number)
				}
				if _, err := tx.Exec(ctx, `INSERT INTO shop_effects (name, number) VALUES `+database.Values(to-from, 2), args...); err != nil {
					return err
				}
			}
			return nil
		})})
	if err != nil {
		return err
	}
	if err := bus.Start(); err != nil {
		return err
	}
	untilStopped("ready")
	return bus.Stop()
}

// process is a child.
type process struct {
	cmd   *exec.Cmd
	said  chan string // each line that it prints
	ended chan struct{}
}

// start starts a child and waits until it says something.
func start(t testing.TB, role string, env ...string) *process {
	t.Helper()
	p := launch(t, role, env...)
	p.hear(t, patience)
	return p
}

// launch starts a child.
func launch(t testing.TB, role string, env ...string) *process {
	t.Helper()
	p := &process{
		cmd:  exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]),
		said: make(chan string, 10), ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), append(env, roleEnv+"="+role)...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.said <- s.Text()
		}
		_ = p.cmd.Wait() // killed, as a rule
	}()
	t.Cleanup(p.kill)
	return p
}

// hear waits for what the child says next.
func (p *process) hear(t testing.TB, long time.Duration) string {
	t.Helper()
	select {
	case what := <-p.said:
		return what
	case <-p.ended:
		require.Fail(t, "the child has ended")
	case <-time.After(long):
		require.Fail(t, "the child says nothing")
	}
	return ""
}

// kill ends the child as a machine would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop has the child end.
func (p *process) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
}
