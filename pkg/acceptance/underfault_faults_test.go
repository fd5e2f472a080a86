//go:build platform

package acceptance

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/faultproxy"
)

// fault is something that happens.
type fault struct {
	name string
	// lasts is how long it goes on.
	lasts time.Duration
	// away is the core service whose engine is away altogether, which says so by not being ready.
	away string
	// begin has it happen, and returns what ends it.
	begin func(ctx context.Context) (end func(ctx context.Context) error, err error)
}

// scene is everything that faults are done to.
type scene struct {
	t        *testing.T
	platform *platform
	engines  *engines
	random   *rand.Rand
	// long says that there is time for faults that last.
	long    bool
	watcher *watcher
}

func nothing(context.Context) error { return nil }

// kill kills a server, and starts it again after lasts.
func kill(of string, lasts time.Duration, find func(ctx context.Context) *node) fault {
	return fault{name: "kill " + of, lasts: lasts, begin: func(ctx context.Context) (func(context.Context) error, error) {
		n := find(ctx)
		return n.server.Start, n.server.Kill()
	}}
}

// pauseFor stops a server and its children where they are.
func (s *scene) pauseFor(of string, find func(ctx context.Context) *node) fault {
	lasts := 4 * time.Second
	if s.long {
		lasts = 30 * time.Second
	}
	return fault{name: "pause " + of, lasts: lasts, begin: func(ctx context.Context) (func(context.Context) error, error) {
		n := find(ctx)
		return func(context.Context) error { return n.server.Resume() }, n.server.Pause()
	}}
}

// weather is the same for all servers of an engine.
func weather(what, of string, lasts time.Duration, nodes []*node, w faultproxy.Weather) fault {
	set := func(w faultproxy.Weather) {
		for _, n := range nodes {
			n.proxy.Set(w)
		}
	}
	f := fault{name: what + " " + of, lasts: lasts, begin: func(context.Context) (func(context.Context) error, error) {
		set(w)
		return func(context.Context) error { set(faultproxy.Weather{}); return nil }, nil
	}}
	if w.Cut || w.Hold {
		f.away = map[string]string{"etcd": "registry", "Redis": "events", "PostgreSQL": "store"}[of]
	}
	return f
}

// faults are all that there are. What each does to whom is drawn when it happens.
func (s *scene) faults() []fault {
	e := s.engines
	one := func(nodes []*node) func(context.Context) *node {
		return func(context.Context) *node { return nodes[s.random.IntN(len(nodes))] }
	}
	leader := func(ctx context.Context) *node { n, _ := e.leader(ctx); return n }
	follower := func(ctx context.Context) *node { _, n := e.leader(ctx); return n }
	master := func(ctx context.Context) *node { n, _, err := e.master(ctx); require.NoError(s.t, err); return n }
	replica := func(ctx context.Context) *node { _, n, err := e.master(ctx); require.NoError(s.t, err); return n }
	primary := func(context.Context) *node { return e.postgres[e.primary] }
	standby := func(context.Context) *node { return e.postgres[1-e.primary] }
	sentinel := func(context.Context) *node { return e.sentinel }

	all := []fault{
		kill("an etcd member", 3*time.Second, follower),
		kill("the etcd leader", 3*time.Second, leader),
		kill("Redis", 0, master),
		kill("the Redis replica", time.Second, replica),
		kill("Sentinel", time.Second, sentinel),
		kill("PostgreSQL", 0, primary),
		kill("the PostgreSQL standby", time.Second, standby),
		s.pauseFor("an etcd member", one(e.etcd)),
		s.pauseFor("Redis", master),
		s.pauseFor("PostgreSQL", primary),
		s.pauseFor("the PostgreSQL standby", standby),
		{name: "Redis failover", lasts: 3 * time.Second, begin: func(ctx context.Context) (func(context.Context) error, error) {
			n := master(ctx)
			return n.server.Start, n.server.Kill() // Sentinel does the rest
		}},
		{name: "Redis failover, replica 1 s behind", lasts: 3 * time.Second, begin: s.loseWindow},
		{name: "PostgreSQL failover", begin: s.failOver},
		{name: "kill a service", begin: s.killProcess(append([]string{"weather"}, services...))},
		{name: "kill a core service", begin: s.killProcess([]string{"registry", "broker", "store", "config", "auth", "events", "proxy", "runtime", "api"})},
		{name: "rolling restart", begin: s.rollingRestart},
	}
	cuts := []time.Duration{time.Second, 10 * time.Second}
	if s.long {
		cuts = append(cuts, time.Minute)
	}
	links := map[string][]*node{"etcd": e.etcd, "Redis": append([]*node{e.sentinel}, e.redis...), "PostgreSQL": e.postgres}
	for _, of := range []string{"etcd", "Redis", "PostgreSQL"} {
		nodes, cut := links[of], cuts[s.random.IntN(len(cuts))]
		all = append(all,
			weather("cut for "+cut.String(), of, cut, nodes, faultproxy.Weather{Cut: true}),
			weather("hold", of, 4*time.Second, nodes, faultproxy.Weather{Hold: true}),
			weather("200 ms to", of, 4*time.Second, nodes, faultproxy.Weather{Delay: 100 * time.Millisecond}),
			weather("losses to", of, 4*time.Second, nodes, faultproxy.Weather{Loss: 0.05}),
			fault{name: "half-close " + of, begin: func(context.Context) (func(context.Context) error, error) {
				for _, n := range nodes {
					n.proxy.HalfClose()
				}
				return nothing, nil
			}})
	}
	if e.sentinel.small {
		all = append(all, s.diskFull("etcd", leader), s.diskFull("Redis", master), s.diskFull("PostgreSQL", primary))
	}
	return all
}

// diskFull fills the disk of a server. Whoever has ended of it is started when there is space again.
func (s *scene) diskFull(of string, find func(context.Context) *node) fault {
	return fault{name: "disk full of " + of, lasts: 4 * time.Second, begin: func(ctx context.Context) (func(context.Context) error, error) {
		ballast, err := find(ctx).fill()
		return func(ctx context.Context) error {
			if err := os.Remove(ballast); err != nil {
				return err
			}
			return s.engines.revive(ctx)
		}, err
	}}
}

// loseWindow has Redis acknowledge what its replica does not get, for a second, and then fail over to that: whatever was
// acknowledged in this window is lost there, and has to be published again.
func (s *scene) loseWindow(ctx context.Context) (func(context.Context) error, error) {
	master, replica, err := s.engines.master(ctx)
	if err != nil {
		return nil, err
	}
	if err := replica.server.Pause(); err != nil { // so that it does not come back at once
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: master.server.Host()})
	defer client.Close() //nolint:errcheck // it was only told
	if err := client.Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		return nil, err
	}
	begun, before := time.Now(), offset(ctx, client)
	pause(ctx, time.Second)
	lost := offset(ctx, client) - before
	if err := master.server.Kill(); err != nil {
		return nil, err
	}
	s.t.Logf("    Redis has acknowledged %d bytes in %s that its replica does not have", lost, tenths(time.Since(begun)))
	return master.server.Start, replica.server.Resume()
}

// offset is how many bytes a master of Redis has for its replicas.
func offset(ctx context.Context, master *redis.Client) int64 {
	info, err := master.Info(ctx, "replication").Result()
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(info, "master_repl_offset:")
	text, _, _ := strings.Cut(rest, "\r")
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// failOver does what an operator of PostgreSQL does whose primary has died: the standby takes over, and what was the primary
// becomes its standby.
func (s *scene) failOver(ctx context.Context) (func(context.Context) error, error) {
	e := s.engines
	old, next := e.postgres[e.primary], e.postgres[1-e.primary]
	if err := old.server.Kill(); err != nil {
		return nil, err
	}
	if err := next.server.Promote(ctx); err != nil {
		return nil, err
	}
	e.primary = 1 - e.primary
	return func(ctx context.Context) error {
		if err := old.server.Rejoin(ctx, next.server); err != nil {
			return err
		}
		return next.server.AwaitStandby(ctx)
	}, nil
}

// killProcess kills one of the platform's processes, which is started again without our help.
func (s *scene) killProcess(names []string) func(context.Context) (func(context.Context) error, error) {
	return func(context.Context) (func(context.Context) error, error) {
		name := names[s.random.IntN(len(names))]
		pid := s.platform.pid(s.t, name)
		s.touch(name)
		return nothing, syscall.Kill(pid, syscall.SIGKILL)
	}
}

// touch says that a process is about to end: it may be missing for a while, and with the runtime all services.
func (s *scene) touch(name string) {
	s.watcher.touch(name)
	if name == "runtime" {
		for _, service := range append([]string{"weather"}, services...) {
			s.watcher.touch(service)
		}
	}
}

// rollingRestart restarts everything in order, one after the other: each server of the engines, core services and services.
func (s *scene) rollingRestart(ctx context.Context) (func(context.Context) error, error) {
	for _, n := range s.engines.all() {
		if slices.Contains(s.engines.postgres, n) || n == s.engines.sentinel {
			continue // PostgreSQL is restarted below, in its order
		}
		if err := n.server.Stop(); err != nil {
			return nil, err
		}
		if err := n.server.Start(ctx); err != nil {
			return nil, err
		}
	}
	for _, n := range []*node{s.engines.postgres[1-s.engines.primary], s.engines.postgres[s.engines.primary]} {
		if err := n.server.Stop(); err != nil {
			return nil, err
		}
		if err := n.server.Start(ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range append([]string{"registry", "broker", "store", "config", "auth", "events", "proxy", "api", "weather"}, services...) {
		pid := s.platform.pid(s.t, name)
		s.touch(name)
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return nil, err
		}
		require.Eventually(s.t, func() bool { now := s.platform.find(name); return now != 0 && now != pid }, patience, rate,
			"%s does not come back", name)
	}
	return nothing, nil
}

// patience is for what a busy machine may take its time with.
const patience = time.Minute

// two are two faults at once.
func two(a, b fault) fault {
	return fault{name: a.name + " + " + b.name, lasts: max(a.lasts, b.lasts), begin: func(ctx context.Context) (func(context.Context) error, error) {
		endA, err := a.begin(ctx)
		if err != nil {
			return nil, err
		}
		endB, err := b.begin(ctx)
		return func(ctx context.Context) error {
			if err := endA(ctx); err != nil {
				return err
			}
			return endB(ctx)
		}, err
	}}
}
