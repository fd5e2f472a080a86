//go:build platform

package acceptance

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	faultsFor  = flag.Duration("faults.for", 90*time.Second, "for how long faults go on")
	faultsSeed = flag.Uint64("faults.seed", 0, "what faults are drawn from; any when 0")
	faultsOnly = flag.String("faults.only", "", "only faults with this in their names")
)

const (
	// back is within what everything works again when a fault is over, without a hand; backBusy is what a machine without
	// time for it is given before the test fails.
	back, backBusy = 10 * time.Second, 40 * time.Second
	// longFaults is how long a run has to be for faults that last.
	longFaults = 5 * time.Minute
)

// result is what a fault has done.
type result struct {
	times int
	// outages are the longest ones of each group of calls.
	outages [3]time.Duration
	recover time.Duration
}

// TestUnderFaults does to the platform and its engines what happens to them in years, while clients use it, and compares
// what these know with what is there afterwards. The seed that it prints has it draw the same faults again.
func TestUnderFaults(t *testing.T) {
	seed := cmp.Or(*faultsSeed, rand.Uint64())
	t.Logf("seed %d (-faults.seed %[1]d -faults.for %s)", seed, *faultsFor)
	e := startEngines(t, seed)
	p := newPlatformWith(t, e.env())
	p.boot(t)
	p.runStory(t)
	out, err := p.Run(t.Context(), "config", "set", "micro.api.timeout_seconds", fmt.Sprint(int(apiTimeout.Seconds())))
	require.NoError(t, err, out)
	api := p.pid(t, "api")
	require.NoError(t, syscall.Kill(api, syscall.SIGKILL))
	require.Eventually(t, func() bool { now := p.find("api"); return now != 0 && now != api }, patience, rate)

	s := &scene{
		t: t, platform: p, engines: e, long: *faultsFor >= longFaults,
		random: rand.New(rand.NewPCG(seed, 1)), watcher: watch(t, e, p),
	}
	truth := startTruth(t, p)
	require.Empty(t, s.settle(truth, time.Now()), "it does not work before there are faults")
	before := s.watcher.sizes(t.Context(), p)

	results := make(map[string]*result)
	defer s.table(results) // also of what has failed
	begun := time.Now()
	var deck []fault
	for n := 1; time.Since(begun) < *faultsFor; n++ {
		if len(deck) == 0 {
			deck = s.deal()
		}
		s.play(truth, results, deck[0], n)
		deck = deck[1:]
	}

	require.Eventually(t, func() bool { return e.whole(t.Context()) }, patience, 50*time.Millisecond, "the engines do not get whole again")
	require.Empty(t, s.settle(truth, time.Now()))
	after := s.watcher.sizes(t.Context(), p)
	truth.stop()
	truth.check(t)
	requireBack(t, before, after)
	s.watcher.mu.Lock()
	defer s.watcher.mu.Unlock()
	require.Empty(t, s.watcher.lost, "they were healthy and missing in the registry")
}

// deal shuffles all faults, and puts some of two at once between them.
func (s *scene) deal() []fault {
	var deck []fault
	for _, f := range s.faults() {
		if strings.Contains(f.name, *faultsOnly) {
			deck = append(deck, f)
		}
	}
	require.NotEmpty(s.t, deck, "there is no such fault")
	s.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	for i := 5; i < len(deck) && *faultsOnly == ""; i += 6 {
		process := slices.IndexFunc(s.faults(), func(f fault) bool { return f.name == "kill a service" }) + i%2
		deck[i] = two(deck[i], s.faults()[process])
	}
	return deck
}

// play has a fault happen, waits until everything works again, and keeps what was seen of it.
func (s *scene) play(truth *truth, results map[string]*result, f fault, n int) {
	t, ctx := s.t, s.t.Context()
	// One loss at a time is what a replica and a standby are for: the fault before has to be made good.
	require.Eventually(t, func() bool { return s.engines.whole(ctx) }, patience, 50*time.Millisecond, "the engines do not get whole again")
	begun := time.Now()
	end, err := f.begin(ctx)
	require.NoError(t, err, f.name)
	require.True(t, f.lasts == 0 || pause(ctx, f.lasts))
	if f.away != "" && f.lasts >= 8*time.Second {
		require.True(t, s.watcher.said(f.away, false, begun), "%s: %s says that it is ready", f.name, f.away)
	}
	require.NoError(t, end(ctx), f.name)
	healed := time.Now()
	waiting := s.settle(truth, healed)
	took := time.Since(healed)
	r := results[f.name]
	if r == nil {
		r = &result{}
		results[f.name] = r
	}
	r.times++
	var outages [3]time.Duration
	var recovery time.Duration
	for _, k := range truth.kinds {
		outages[k.group] = max(outages[k.group], k.outage(begun))
		if at, ok := k.since(healed); ok {
			recovery = max(recovery, at.Sub(healed))
		}
	}
	for i := range outages {
		r.outages[i] = max(r.outages[i], outages[i])
	}
	r.recover = max(r.recover, recovery)
	t.Logf("%3d %s: lasted %s, outages %s, recovery %s", n, f.name, tenths(healed.Sub(begun)), tenths(outages[:]...), tenths(recovery))
	require.Empty(t, waiting, "%s: after %s these do not work again", f.name, took)
}

// settle waits until calls of all kinds have succeeded that were begun after a time, and every process is ready; it returns
// what does not after a time that is too long.
func (s *scene) settle(truth *truth, from time.Time) []string {
	ctx, cancel := context.WithTimeout(s.t.Context(), backBusy)
	defer cancel()
	var waiting []string
	for range every(ctx, 50*time.Millisecond) {
		waiting = waiting[:0]
		for _, k := range truth.kinds {
			if _, ok := k.since(from); !ok {
				waiting = append(waiting, k.name)
			}
		}
		for _, name := range s.watcher.names {
			if !s.watcher.said(name, true, from) {
				waiting = append(waiting, name+" is not ready")
			}
		}
		if len(waiting) == 0 {
			return nil
		}
	}
	return waiting
}

// table prints what was done, and what callers saw.
func (s *scene) table(results map[string]*result) {
	var text strings.Builder
	fmt.Fprintf(&text, "longest time without a success, in seconds\n%-50s %5s %6s %8s %8s %9s\n",
		"fault", "times", "calls", "changes", "effects", "recovery")
	slow := 0
	for _, name := range slices.Sorted(maps.Keys(results)) {
		r := results[name]
		fmt.Fprintf(&text, "%-50s %5d %6.1f %8.1f %8.1f %9.1f\n", name, r.times, r.outages[calls].Seconds(),
			r.outages[changes].Seconds(), r.outages[effects].Seconds(), r.recover.Seconds())
		if r.recover > back {
			slow++
		}
	}
	s.t.Logf("\n%s%d of %d took longer than %s to recover", &text, slow, len(results), back)
}

// tenths prints times in tenths of seconds.
func tenths(times ...time.Duration) string {
	var all []string
	for _, t := range times {
		all = append(all, t.Round(100*time.Millisecond).String())
	}
	return strings.Join(all, "/")
}
