// Package process is how a benchmark runs its sides as processes of their own: the program is all of them, and what a child
// is for stands in its environment. A caller is told on its standard input how to call, and answers how fast it was.
package process

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

// The environment of a child. One process has one role, because Micro keeps everything in globals.
const (
	roleEnv   = "BENCH_ROLE"
	addrEnv   = "BENCH_ADDRESS" // where a server listens, or whom a caller calls
	callerEnv = "BENCH_AS"      // who calls: a token
	keysEnv   = "BENCH_KEYS"    // the directory of the keys that tokens are checked with
	// verboseEnv shows what children say on standard error.
	verboseEnv = "BENCH_VERBOSE"
)

// startTime is how long a process has to begin its work.
const startTime = 30 * time.Second

// Role is what this process is for; empty for the one that was started by somebody.
func Role() string { return os.Getenv(roleEnv) }

// Address is where this child is to listen, or whom it is to call.
func Address() string { return os.Getenv(addrEnv) }

// Group is the children of one run.
type Group struct {
	// Dir is where they keep their state.
	Dir string
	// Env is what all of them have in their environment beside ours.
	Env []string

	all  []*Process
	next int
}

// Process is a child.
type Process struct {
	*exec.Cmd
	// Address is where it listens, or whom it calls.
	Address string

	role string
	in   io.WriteCloser
	out  *bufio.Reader
}

// Start starts a child.
func (ps *Group) Start(role, address string, env ...string) (*Process, error) {
	p := &Process{Cmd: exec.Command(os.Args[0]), role: role, Address: address} //nolint:noctx,gosec // itself; it is ended by Stop
	ps.next++
	p.Env = append(os.Environ(), ps.Env...)
	p.Env = append(p.Env, roleEnv+"="+role, addrEnv+"="+address, "MICRO_STATE="+ps.Dir+"/"+strconv.Itoa(ps.next))
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
	if os.Getenv(verboseEnv) != "" {
		p.Stderr = os.Stderr
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	ps.all = append(ps.all, p)
	return p, nil
}

// Serve starts a child that is a server, and waits until it listens.
func (ps *Group) Serve(role string, env ...string) (*Process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := ps.Start(role, address, env...)
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%s does not listen (BENCH_VERBOSE=1 shows why)", role)
		}
	}
}

// Stop ends the children.
func (ps *Group) Stop() {
	for _, p := range ps.all {
		_ = p.Process.Kill() // it may have ended
		_ = p.Wait()         // killed
	}
}

// Turn has a caller call for a while, with as many callers at once, and returns how many calls a second there were.
func (p *Process) Turn(callers int, long time.Duration) (float64, error) {
	return p.Ask(fmt.Sprintf("%d %d", callers, long.Milliseconds()))
}

// Ask tells a child what to do on its standard input, in a line, and returns the number that it answers with.
func (p *Process) Ask(what string) (float64, error) {
	if _, err := fmt.Fprintln(p.in, what); err != nil {
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

// Side is a caller as one side of a comparison, whose turns take that long.
func (p *Process) Side(callers int, turn time.Duration) bench.Side {
	return func(context.Context) (float64, error) { return p.Turn(callers, turn) }
}

// Resident returns how many MiB of memory a child has in use.
func (p *Process) Resident() (float64, error) {
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
