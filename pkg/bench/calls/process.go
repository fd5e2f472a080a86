package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/bench"
)

// The program is every process of the benchmark: what each of them is for stands in roleEnv. One process has one role,
// because Micro keeps everything in globals.
const (
	roleEnv   = "BENCH_CALLS_ROLE"
	addrEnv   = "BENCH_CALLS_ADDRESS" // where a server listens, or whom a caller calls
	callerEnv = "BENCH_CALLS_AS"      // who calls: a token
	keyEnv    = "BENCH_CALLS_KEY"     // the public key of Micro's tokens
	keysEnv   = "BENCH_CALLS_KEYS"    // the directory of the keys of ours
)

// startTime is how long a process has to begin its work.
const startTime = 30 * time.Second

// processes are the children of one run.
type processes struct {
	dir  string
	env  []string
	all  []*process
	next int
}

// process is a child. A caller is told how to call on its standard input, and says what it has found on its output.
type process struct {
	*exec.Cmd
	role    string
	address string
	in      io.WriteCloser
	out     *bufio.Reader
}

// start starts a child.
func (ps *processes) start(role, address string, env ...string) (*process, error) {
	p := &process{Cmd: exec.Command(os.Args[0]), role: role, address: address} //nolint:noctx,gosec // itself; it is ended by stop
	ps.next++
	p.Env = append(os.Environ(), ps.env...)
	p.Env = append(p.Env, roleEnv+"="+role, addrEnv+"="+address, "MICRO_STATE="+ps.dir+"/"+strconv.Itoa(ps.next))
	p.Env = append(p.Env, env...)
	var err error
	if p.in, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if os.Getenv("BENCH_CALLS_VERBOSE") != "" {
		p.Stderr = os.Stderr
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	ps.all = append(ps.all, p)
	return p, nil
}

// serve starts a child that is a server, and waits until it listens.
func (ps *processes) serve(role string, env ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := ps.start(role, address, env...)
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%s does not listen (BENCH_CALLS_VERBOSE=1 shows why)", role)
		}
	}
}

// stop ends the children.
func (ps *processes) stop() {
	for _, p := range ps.all {
		_ = p.Process.Kill() // it may have ended
		_ = p.Wait()         // killed
	}
}

// turn has a caller call for a while, with as many callers at once, and returns how many calls a second there were.
func (p *process) turn(callers int, long time.Duration) (float64, error) {
	if _, err := fmt.Fprintf(p.in, "%d %d\n", callers, long.Milliseconds()); err != nil {
		return 0, fmt.Errorf("%s: %w", p.role, err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", p.role, err)
	}
	result, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %s", p.role, line)
	}
	return result, nil
}

// side is a caller as one side of a comparison.
func (p *process) side(callers int) bench.Side {
	return func(context.Context) (float64, error) { return p.turn(callers, turn) }
}

// resident returns how many MiB of memory a child has in use.
func (p *process) resident() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("%s: no VmRSS", p.role)
}

func freeAddress() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
