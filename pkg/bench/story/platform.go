package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	billing "github.com/m3o/backend/billing/proto"
	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/platform/state"
)

// settings let one customer call as fast as they can, and as often.
var settings = map[string]string{
	"micro.billing.tiers": `{"free": {"name": "Free", "monthly_quota": 1000000000, "rate_limit": 1000000}}`,
	"micro.usage.quotas":  `{"free": 1000000000}`,
}

// serverArgs are what `make run` gives to the server; what they name is built by scripts/bench.sh.
var serverArgs = []string{
	"--run", "./customers", "--run", "./billing", "--run", "./usage", "--run", "./signup", "--run", "./mixpanel",
	"--stand-in", "stripe=bin/stripe-mock", "--stand-in", "mixpanel=bin/sink",
}

// startTime is how long the platform has to start, including the build of its services.
const startTime = 3 * time.Minute

// platform is a platform as `make run` starts it, and somebody who uses it.
type platform struct {
	*client.Client
	server *exec.Cmd
	out    client.Output
	ended  chan struct{}
}

// start starts a platform with everything that the story needs.
func start(ctx context.Context, dir string) (*platform, error) {
	p := &platform{Client: &client.Client{Micro: filepath.Join("bin", "micro"), State: filepath.Join(dir, "state")}, ended: make(chan struct{})}
	port := 20000 + 16*rand.IntN(700) //nolint:gosec // any will do
	args := append([]string{"server", "--state", p.State, "--port", strconv.Itoa(port)}, serverArgs...)
	p.server = exec.Command(p.Micro, args...) //nolint:noctx // stop ends it
	p.server.Stdout, p.server.Stderr = &p.out, &p.out
	p.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	addresses := state.Addresses{Port: port}
	p.API, p.Proxy = "http://"+addresses.Of("api"), addresses.Of("proxy")
	if err := p.server.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.server.Wait() // it is told to end
		close(p.ended)
	}()
	if err := p.prepare(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// prepare waits for the platform, configures it and puts something on it that is sold.
func (p *platform) prepare(ctx context.Context) error {
	if err := p.until(ctx, func() bool { return strings.Contains(p.out.String(), "Ctrl-C stops it.") }); err != nil {
		return err
	}
	for key, value := range settings {
		if out, err := p.Run(ctx, "config", "set", key, value); err != nil {
			return fmt.Errorf("config set %s: %w: %s", key, err, out)
		}
	}
	for _, args := range [][]string{
		{"update", "./billing"}, {"update", "./usage"}, // they read their configuration when they start
		{"run", "--sold", "./pkg/acceptance/weather"},
	} {
		if out, err := p.Run(ctx, args...); err != nil {
			return fmt.Errorf("micro %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	_, err := billing.NewBillingService("billing", p.admin()).PublishAPI(ctx, &billing.PublishAPIRequest{
		ApiName: "weather", Endpoints: []*billing.Endpoint{{Name: "Now"}},
	})
	return err
}

// until waits until f holds.
func (p *platform) until(ctx context.Context, f func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-p.ended:
			return fmt.Errorf("the platform has ended: %s", p.out.String())
		case <-ctx.Done():
			return fmt.Errorf("the platform is not ready: %s", p.out.String())
		case <-tick.C:
		}
	}
	return nil
}

// admin is a client for RPCs of an operator.
func (p *platform) admin() *client.RPC {
	token, err := p.Issue(client.Admin)
	if err != nil {
		panic(err) // the keys are there once the platform is
	}
	return p.RPC(token)
}

// customer makes a customer who may call, and returns their key, when the gateway knows it and the API.
func (p *platform) customer(ctx context.Context) (string, error) {
	admin := p.admin()
	made, err := customers.NewCustomersService("customers", admin).Create(ctx, &customers.CreateRequest{Email: uuid.NewString() + "@example.com"})
	if err != nil {
		return "", err
	}
	for _, status := range []string{"verified", "active"} {
		if _, err := p.Call(ctx, "customers", "Customers.Update",
			fmt.Sprintf(`{"customer": {"id": %q, "status": %q}, "update_mask": "status"}`, made.Customer.Id, status)); err != nil {
			return "", err
		}
	}
	key, err := customers.NewKeysService("customers", admin).GenerateKey(ctx, &customers.GenerateKeyRequest{CustomerId: made.Customer.Id})
	if err != nil {
		return "", err
	}
	keyed := p.WithKey(key.ApiKey)
	last := ""
	err = p.until(ctx, func() bool {
		a, err := keyed.Post(ctx, "/v1/weather/Now", string(place))
		last = fmt.Sprint(a.Code, string(a.Body), err)
		return err == nil && a.Code == 200
	})
	if err != nil {
		return "", errors.New(last)
	}
	return key.ApiKey, nil
}

// countMails is how many mails were sent.
func (p *platform) countMails() (int, error) {
	files, err := filepath.Glob(filepath.Join(p.MailDir(), "*.eml"))
	return len(files), err
}

// resident is how many MiB of memory the platform takes, the server and everything that it has started: once with pages that
// several processes have, as of the one binary of all core services, counted once (PSS), and once counted for each (RSS).
func (p *platform) resident() (proportional, each float64, err error) {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=").Output() //nolint:noctx // it takes no time
	if err != nil {
		return 0, 0, err
	}
	parents := make(map[int]int)
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err != nil {
			return 0, 0, err
		}
		parents[pid] = parent
	}
	for pid := range parents {
		if !p.started(pid, parents) {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, 0, err
		}
		for line := range strings.Lines(string(text)) {
			var kib float64
			if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kib); n == 1 {
				proportional += kib / 1024
			}
			if n, _ := fmt.Sscanf(line, "Rss: %f kB", &kib); n == 1 {
				each += kib / 1024
			}
		}
	}
	return proportional, each, nil
}

// started tells whether a process is the server, or was started by it or by one that was.
func (p *platform) started(pid int, parents map[int]int) bool {
	for pid != p.server.Process.Pid {
		parent, ok := parents[pid]
		if !ok {
			return false
		}
		pid = parent
	}
	return true
}

// stop ends the platform.
func (p *platform) stop() {
	_ = p.server.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-p.server.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}
