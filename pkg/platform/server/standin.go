package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// standIn is a program that stands in for a service of others while the platform has no account there. It is looked after
// as the core services are, and ends with the server. (Where a parent's death is told by a pipe, as on macOS, one that does
// not listen to that outlives a server that was killed: stripe-mock does. The next one says that its port is taken.)
type standIn struct {
	// name is what its port goes by, title and note what people read of it.
	name, title, note string
	program           string
	// args are those of the program that has to listen at an address, and to keep what it keeps in a directory.
	args func(address, dir string) []string
}

// known are those that somebody calls: each service of ours that may use one knows its protocol.
var known = []standIn{
	{name: "stripe", title: "Stripe", note: "a stand-in", args: func(address, _ string) []string {
		// Unless it is told an address for TLS it takes a fixed one, on all interfaces.
		return []string{"-http-addr", address, "-https-addr", state.Host + ":0"}
	}},
	{name: "mixpanel", title: "Mixpanel", note: "a stand-in, whose page shows what arrives", args: func(address, dir string) []string {
		return []string{"-address", address, "-dir", dir}
	}},
}

// parseStandIns reads what --stand-in was given: stripe=bin/stripe-mock.
func parseStandIns(flags []string) ([]standIn, error) {
	var all []standIn
	for _, f := range flags {
		name, program, _ := strings.Cut(f, "=")
		i := slices.IndexFunc(known, func(s standIn) bool { return s.name == name })
		if i < 0 || program == "" {
			return nil, errors.New("--stand-in: expected stripe=program or mixpanel=program")
		}
		if slices.ContainsFunc(all, func(s standIn) bool { return s.name == name }) {
			return nil, fmt.Errorf("--stand-in: %s is given twice", name)
		}
		path, err := filepath.Abs(program)
		if err != nil {
			return nil, fmt.Errorf("--stand-in: %s: %w", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fmt.Errorf("--stand-in: %s: no such program (make stand-ins builds it)", program)
		}
		s := known[i]
		s.program = path
		all = append(all, s)
	}
	return all, nil
}

// others is what stands in for others, at work.
type others struct {
	list      []standIn
	addresses state.Addresses
	processes []*supervisor.Process
}

// startStandIns starts them, and says where they are in the environment of this process, which is that of the core services.
func startStandIns(addresses state.Addresses, list []standIn) (*others, error) {
	o := &others{list: list, addresses: addresses}
	for _, s := range list {
		dir := state.StandIn(s.name)
		err := free(addresses.StandIn(s.name))
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err == nil {
			err = os.Setenv("MICRO_STANDIN_"+strings.ToUpper(s.name), "http://"+addresses.StandIn(s.name))
		}
		if err != nil {
			o.stop()
			return nil, fmt.Errorf("stand-in %s: %w", s.name, err)
		}
		p, err := supervisor.Start(
			supervisor.Config{Log: standInLog(s.name), MaxBackoff: 5 * time.Second},
			supervisor.Command{Path: s.program, Args: s.args(addresses.StandIn(s.name), dir), Dir: dir, Env: standInEnv()},
		)
		if err != nil {
			o.stop()
			return nil, err
		}
		o.processes = append(o.processes, p)
	}
	return o, nil
}

// free returns an error if an address is taken. That of a server that was just killed is given a moment to be left.
func free(address string) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), leaveTime,
		fmt.Errorf("%s is taken: choose another block of ports", address))
	defer cancel()
	return launch.Poll(ctx, func() (bool, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // it may be left yet
		}
		return true, l.Close()
	})
}

// leaveTime is how long a port may be in use before that is an error.
const leaveTime = 2 * time.Second

func standInLog(name string) string { return filepath.Join(state.Logs(), "stand-in-"+name+".log") }

// standInEnv is what a process needs to run, and nothing of the platform's. What stands in has little to do: memory is worth
// more than the work to collect it.
func standInEnv() []string {
	env := []string{"GOGC=20"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// wait returns when each of them takes connections, or why one does not start.
func (o *others) wait(ctx context.Context) error {
	var dialer net.Dialer
	for i, s := range o.list {
		err := launch.Poll(ctx, func() (bool, error) {
			status := o.processes[i].Status()
			if status.Restarts > 2 {
				return false, fmt.Errorf("it does not start: %s (its log is %s)", sentence(status.Reason), standInLog(s.name))
			}
			if status.State != supervisor.Running {
				return false, nil
			}
			conn, err := dialer.DialContext(ctx, "tcp", o.addresses.StandIn(s.name))
			if err != nil {
				return false, nil //nolint:nilerr // it is not there yet
			}
			return true, conn.Close()
		})
		if err != nil {
			return fmt.Errorf("stand-in %s: %w", s.name, err)
		}
	}
	return nil
}

// stop ends them.
func (o *others) stop() {
	for _, p := range o.processes {
		p.Stop()
	}
}
