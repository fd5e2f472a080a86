//go:build platform

package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/etcd"
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// grace is how long a process may be missing that was killed, or has just been started.
const grace = 20 * time.Second

// watcher looks at the registry all the time, as everybody in the platform sees it, and asks each process whether it is ready.
type watcher struct {
	platform *platform
	registry *etcd.Registry
	names    []string
	http     http.Client

	mu      sync.Mutex
	pids    map[string]int // who was missing
	touched map[string]time.Time
	missing map[string]int // how often in a row
	lost    []string       // who was missing and should not have been
	ready   map[string][]readiness
}

// readiness is what a process said of itself.
type readiness struct {
	at    time.Time
	ready bool
}

func watch(t *testing.T, e *engines, p *platform) *watcher {
	t.Helper()
	t.Setenv("MICRO_ETCD_ADDRESS", e.etcdAddress())
	config, err := etcd.ReadConfig()
	require.NoError(t, err)
	r, err := etcd.Open(config)
	require.NoError(t, err)
	w := &watcher{
		platform: p, pids: make(map[string]int), registry: r, touched: make(map[string]time.Time), missing: make(map[string]int), ready: make(map[string][]readiness),
		names: append([]string{"weather", "registry", "broker", "store", "config", "auth", "events", "proxy", "api", "runtime"}, services...),
		http:  http.Client{Timeout: 4 * time.Second},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	for _, name := range w.names {
		watching.Go(func() {
			for range every(ctx, 500*time.Millisecond) {
				w.look(name)
			}
		})
		watching.Go(func() {
			for range every(ctx, time.Second) {
				w.ask(ctx, name)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		w.http.CloseIdleConnections()
		require.NoError(t, r.Close())
	})
	return w
}

func (w *watcher) touch(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched[name] = time.Now()
}

// addresses are where the nodes of a service have their metrics.
func (w *watcher) addresses(name string) []string {
	found, err := w.registry.GetService(name)
	if err != nil {
		return nil
	}
	var all []string
	for _, s := range found {
		for _, n := range s.Nodes {
			all = append(all, n.Metadata[monitor.MetadataKey])
		}
	}
	return all
}

func (w *watcher) look(name string) {
	found := len(w.addresses(name))
	w.mu.Lock()
	defer w.mu.Unlock()
	if found > 0 || time.Since(w.touched[name]) < grace {
		w.missing[name] = 0
		return
	}
	if pid := w.platform.find(name); pid == 0 || pid != w.pids[name] { // it does not run, or was started again
		w.pids[name], w.touched[name] = pid, time.Now()
		return
	}
	if w.missing[name]++; w.missing[name] == 2 {
		w.lost = append(w.lost, fmt.Sprintf("%s at %s", name, time.Now().Format(time.TimeOnly)))
	}
}

func (w *watcher) ask(ctx context.Context, name string) {
	addresses := w.addresses(name)
	if len(addresses) == 0 {
		return
	}
	asked := time.Now()
	body, code, err := w.get(ctx, addresses[len(addresses)-1], "/readyz")
	if err != nil {
		return // it is not there, and says nothing
	}
	_ = body
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready[name] = append(w.ready[name], readiness{asked, code == http.StatusOK})
}

func (w *watcher) get(ctx context.Context, address, path string) (string, int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", 0, err
	}
	response, err := w.http.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	var text strings.Builder
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
	}
	return text.String(), response.StatusCode, nil
}

// said tells whether a process has said since a time that it is, or is not, ready.
func (w *watcher) said(name string, ready bool, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ready[name] {
		if r.at.After(since) && r.ready == ready {
			return true
		}
	}
	return false
}

// size is what a process takes.
type size struct {
	goroutines int
	resident   int // MiB
}

// sizes are those of all processes.
func (w *watcher) sizes(ctx context.Context, p *platform) map[string]size {
	all := make(map[string]size)
	for _, name := range w.names {
		for _, address := range w.addresses(name) {
			text, _, err := w.get(ctx, address, "/metrics")
			if err != nil {
				continue
			}
			var s size
			for line := range strings.Lines(text) {
				if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
					s.goroutines, _ = strconv.Atoi(strings.TrimSpace(value))
				}
			}
			s.resident = resident(p.find(name))
			all[name] = s
		}
	}
	return all
}

// resident is how many MiB of memory a process takes.
func resident(pid int) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kib >> 10
		}
	}
	return 0
}

// requireBack compares what processes take with what they took. They may have learned something, and what the runtime has got
// from the system it gives back slowly; a leak for each call or connection would be far beyond it.
func requireBack(t *testing.T, before, after map[string]size) {
	t.Helper()
	for name, was := range before {
		now, ok := after[name]
		require.True(t, ok, "%s is not there", name)
		t.Logf("%-10s %4d -> %4d goroutines, %4d -> %4d MiB", name, was.goroutines, now.goroutines, was.resident, now.resident)
		require.LessOrEqual(t, now.goroutines, was.goroutines+was.goroutines/2+60, "%s has too many goroutines", name)
		require.LessOrEqual(t, now.resident, 2*was.resident+64, "%s has too much memory", name)
	}
}
