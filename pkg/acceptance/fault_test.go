package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load creates customers, a hundred a second, and remembers which were answered.
type load struct {
	stop     func()
	mu       sync.Mutex
	answered map[string]string // id by address
	failed   atomic.Int64
}

// rate is the pause between two calls.
const rate = 10 * time.Millisecond

func startLoad(t *testing.T, p *platform, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{answered: make(map[string]string)}
	var calls sync.WaitGroup
	calls.Go(func() {
		ticker := time.NewTicker(rate)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			email := fmt.Sprintf("%s.%d@example.com", name, i)
			calls.Go(func() { l.create(t.Context(), p, email) })
		}
	})
	var once sync.Once
	l.stop = func() {
		once.Do(func() {
			cancel()
			calls.Wait()
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) create(ctx context.Context, p *platform, email string) {
	a, err := p.Post(ctx, "/customers/Create", `{"email": "`+email+`"}`)
	customer, _ := a.Fields()["customer"].(map[string]any)
	id, _ := customer["id"].(string)
	if err != nil || a.Code != http.StatusOK || id == "" {
		l.failed.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered[email] = id
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answered)
}

// more waits until n further calls have been answered.
func (l *load) more(t *testing.T, n int, within time.Duration) {
	t.Helper()
	before := l.count()
	require.Eventually(t, func() bool { return l.count() >= before+n }, within, rate, "calls are not answered any more")
}

// check reads every customer that was answered.
func (l *load) check(t *testing.T, p *platform) {
	t.Helper()
	for email, id := range l.answered {
		a, err := p.Post(t.Context(), "/customers/Read", `{"email": "`+email+`"}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Code, "%s was answered and is lost: %s", email, a.Body)
		customer, _ := a.Fields()["customer"].(map[string]any)
		require.Equal(t, id, customer["id"])
	}
}

// recovery is how long a platform may take until it answers again after one of its processes was killed.
const recovery = 15 * time.Second

func TestNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	l := startLoad(t, p, "first")
	l.more(t, 50, recovery)

	for _, name := range []string{"customers", "registry", "broker", "store", "config", "auth", "events", "network", "proxy", "runtime", "api"} {
		t.Run("kill -9 "+name, func(t *testing.T) {
			var victim int
			if name == "customers" {
				victim = p.binaries()[0].pid
			} else {
				victim = p.core(t, name)
			}
			failed, begin := l.failed.Load(), time.Now()
			require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
			require.Eventually(t, func() bool { return p.running(name, victim) }, recovery, rate, "%s does not come back", name)
			l.more(t, 50, recovery)
			p.answers(t, "/customers/List", "{}", recovery)
			require.Eventually(t, func() bool {
				_, err := p.Call(t.Context(), "customers", "Customers.List", "{}")
				return err == nil
			}, recovery, rate, "the command line does not work again")
			require.Len(t, p.binaries(), 1, "there are no two copies")
			t.Logf("back with 50 calls answered after %s; %d calls failed",
				time.Since(begin).Round(time.Millisecond), l.failed.Load()-failed)
		})
	}

	l.more(t, 50, recovery)
	p.killTree()
	l.stop()
	require.Eventually(t, func() bool { return len(p.binaries()) == 0 }, recovery, rate, "nothing outlives the server")
	require.True(t, p.start(t, "customers"))
	require.Len(t, p.binaries(), 1)
	l.check(t, p)
	t.Logf("%d customers were answered, all of them are there; %d calls failed meanwhile", l.count(), l.failed.Load())
}

// running tells whether a service runs in another process than the one that was killed.
func (p *platform) running(name string, killed int) bool {
	if name == "customers" {
		b := p.binaries()
		return len(b) == 1 && b[0].pid != killed
	}
	for _, c := range p.tree() {
		if c.pid != killed && len(c.command) > len(name) && c.command[len(c.command)-len(name)-1:] == " "+name {
			return true
		}
	}
	return false
}

// A server that alone is killed takes everything along, so that the next one does not meet its own past.
func TestNothingOutlivesTheServer(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	before := p.tree()
	require.NoError(t, p.cmd.Process.Kill())
	<-p.done
	require.Eventually(t, func() bool {
		for _, c := range before {
			if syscall.Kill(c.pid, 0) == nil {
				return false
			}
		}
		return len(p.binaries()) == 0
	}, recovery, rate)
	require.True(t, p.start(t), "the services come back without being named")
	p.answers(t, "/customers/List", "{}", recovery)
	require.Len(t, p.binaries(), 1)
}
