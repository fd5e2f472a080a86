// Command load has many requests recorded by the platform that `make run` has started, at a bounded rate, and prints what the
// counters have to show then, as JSON:
//
//	go run ./pkg/acceptance/load -state .micro -n 100000 >truth.json
//
// The customers are new ones, made up for the run, so that their counters begin at nothing. A batch that is not answered is
// recorded again under its name until it is, so that the platform may die meanwhile; what is not answered at the end, because
// of Ctrl-C, is told apart. With -wait it then waits until the counters show the truth, and fails when they show more, or
// still less when the time is over. It counts the present month: a run that goes on into the next one ends badly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/platform/state"
	usage "github.com/m3o/backend/usage/proto"
)

func main() {
	var cfg config
	dir := flag.String("state", "", "the platform's state directory (default: $"+state.Env+", or the nearest "+state.DirName+")")
	flag.IntVar(&cfg.requests, "n", 100_000, "how many requests are recorded")
	flag.IntVar(&cfg.customers, "customers", 100, "of how many customers they are")
	flag.IntVar(&cfg.batch, "batch", 500, "how many are recorded at once: 1 to 1000")
	flag.IntVar(&cfg.rate, "rate", 20_000, "how many a second at most")
	flag.IntVar(&cfg.workers, "workers", 4, "how many calls are made at once")
	wait := flag.Duration("wait", 0, "how long to wait until the counters show the truth; they are not looked at when 0")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, cfg, *wait); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, cfg config, wait time.Duration) error {
	dir, err := state.Locate(dir)
	if err != nil {
		return err
	}
	c, err := client.Local(dir, "")
	if err != nil {
		return err
	}
	service := (&operator{client: c, rpc: c.RPC("")}).usage
	truth, err := load(ctx, cfg, service, os.Stderr)
	if truth == nil {
		return err
	}
	b, encodeErr := json.MarshalIndent(truth, "", "\t")
	if encodeErr == nil {
		_, encodeErr = fmt.Println(string(b))
	}
	if err := errors.Join(err, encodeErr); err != nil || wait == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := compare(ctx, truth, service); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "The counters show just that.")
	return nil
}

// operator calls as an operator, whose tokens live for minutes.
type operator struct {
	client *client.Client
	rpc    *client.RPC

	mu     sync.Mutex
	token  string
	issued time.Time
}

// renewAfter is how old a token gets.
const renewAfter = time.Minute

// usage returns the client of a service whose token is good for the next call.
func (o *operator) usage() (usage.UsageService, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.token == "" || time.Since(o.issued) > renewAfter {
		token, err := o.client.Issue(client.Admin)
		if err != nil {
			return nil, err
		}
		o.token, o.issued = token, time.Now()
	}
	return usage.NewUsageService("usage", o.rpc.As(o.token)), nil
}
