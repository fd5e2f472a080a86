// Calls measures what a call from one service to another costs: with pkg/service on both sides, authorised by a token and
// checked against the policy in the proto; the same with stock Micro, through its proxy and asking its auth service; and
// with plain gRPC, which does nothing but carry the message. Each side has processes of its own, and all collect garbage as
// a service does by itself.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/service"
)

const (
	rounds = 5
	turn   = time.Second
	// memoryCalls is after how many calls the memory of a service is looked at.
	memoryCalls = 1_000_000
	most        = 64
)

func main() {
	process.Play(map[string]func() error{
		"service": runService, "caller": runCaller, "edge": runEdge, "http-caller": runHTTPCaller,
		"plain-server": runPlainServer, "plain-caller": runPlainCaller,
		"stock-registry": runStockRegistry, "stock-auth": runStockAuth, "stock-proxy": runStockProxy,
		"stock-service": runStockService, "stock-caller": runStockCaller,
	})
	report, err := process.NewReport("calls")
	if err != nil {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench.InDir(func(dir string) error { return run(ctx, report, dir) }); err != nil {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(1)
	}
	os.Exit(report.ExitCode())
}

func run(ctx context.Context, report *bench.Report, dir string) error {
	keys := filepath.Join(dir, "keys")
	ids, err := newIdentities(keys)
	if err != nil {
		return err
	}
	ps := &process.Group{Dir: dir, Env: []string{
		"GOGC=" + strconv.Itoa(service.GCPercent), "MICRO_PROFILE=test", "MICRO_REPORT_USAGE=false",
		keyEnv + "=" + ids.public, process.KeysEnv + "=" + keys, process.TokenEnv + "=" + ids.ours,
	}}
	defer ps.Stop()

	target, ours, err := pair(ps, "service", "caller")
	if err != nil {
		return err
	}
	_, plain, err := pair(ps, "plain-server", "plain-caller")
	if err != nil {
		return err
	}
	stock, err := startStock(ps, ids)
	if err != nil {
		return err
	}
	edge, err := ps.Serve("edge", "BENCH_CALLS_SERVICE="+target.Address)
	if err != nil {
		return err
	}
	http, err := ps.Start("http-caller", edge.Address)
	if err != nil {
		return err
	}

	one, err := bench.Interleave(ctx, rounds, ours.Side(1, turn), plain.Side(1, turn), stock.Side(1, turn))
	if err != nil {
		return err
	}
	few, err := bench.Interleave(ctx, rounds, ours.Side(16, turn), plain.Side(16, turn))
	if err != nil {
		return err
	}
	many, err := bench.Interleave(ctx, rounds, ours.Side(most, turn), plain.Side(most, turn), stock.Side(most, turn), http.Side(most, turn))
	if err != nil {
		return err
	}
	for i, name := range []string{"ours", "plain", "stock"} {
		report.Figure(name+"-1", one[i], "calls/s")
	}
	report.Figure("ours-16", few[0], "calls/s")
	report.Figure("plain-16", few[1], "calls/s")
	for i, name := range []string{"ours", "plain", "stock", "http"} {
		report.Figure(name+"-64", many[i], "calls/s")
	}
	report.AtLeast("against-stock-1", one[0]/one[2], "x", 15)
	report.AtLeast("against-stock-64", many[0]/many[2], "x", 30)
	report.AtLeast("against-plain-1", one[0]/one[1], "x", 0.75)
	report.AtLeast("against-plain-16", few[0]/few[1], "x", 0.7)
	report.AtLeast("against-plain-64", many[0]/many[1], "x", 0.7)
	report.AtLeast("http-against-rpc-64", many[3]/many[0], "x", 0.4)

	for calls := 0.0; calls < memoryCalls; {
		const long = 5 * time.Second
		rate, err := ours.Turn(most, long)
		if err != nil {
			return err
		}
		calls += rate * long.Seconds()
	}
	used, err := target.Resident()
	if err != nil {
		return err
	}
	report.AtMost("memory-after-1000000-calls", used, "MiB", 100)
	return nil
}

// pair starts a server and its caller.
func pair(ps *process.Group, server, caller string) (*process.Process, *process.Process, error) {
	s, err := ps.Serve(server)
	if err != nil {
		return nil, nil, err
	}
	c, err := ps.Start(caller, s.Address)
	return s, c, err
}
