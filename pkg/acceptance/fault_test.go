package acceptance

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
)

// load makes two hundred calls a second and remembers which were answered. Half of them are an operator's, who creates
// customers by RPC through the proxy; the other half are customers', who change their own names over HTTP.
type load struct {
	stop   func()
	failed atomic.Int64

	mu      sync.Mutex
	created map[string]string // id by address
	changed int               // how many names
	owners  []*owner
}

// owner is a customer who changes their own name again and again.
type owner struct {
	id     string
	client *client.Client
	// asked is the number in the name that was asked for last, answered the one that was answered last.
	asked, answered int
}

const (
	// rate is the pause between two calls of each half.
	rate = 10 * time.Millisecond
	// owners is how many customers change their names.
	owners = 10
)

func startLoad(t *testing.T, p *platform, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{created: make(map[string]string)}
	for i := range owners {
		id := p.customer(t, fmt.Sprintf("%s.owner.%d@example.com", name, i))
		l.owners = append(l.owners, &owner{id: id, client: p.as(t, client.Customer(id))})
	}
	var calls sync.WaitGroup
	api := customers.NewCustomersService("customers", p.admin(t))
	calls.Go(func() {
		for i := range every(ctx, rate) {
			email := fmt.Sprintf("%s.%d@example.com", name, i)
			calls.Go(func() { l.create(t.Context(), api, email) })
		}
	})
	for _, o := range l.owners {
		calls.Go(func() {
			for range every(ctx, owners*rate) { // one after the other, so that it is known which was the last
				l.change(t.Context(), o)
			}
		})
	}
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

// every counts the ticks until the context ends.
func every(ctx context.Context, pause time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if !yield(i) {
				return
			}
		}
	}
}

func (l *load) create(ctx context.Context, api customers.CustomersService, email string) {
	rsp, err := api.Create(ctx, &customers.CreateRequest{Email: email})
	if err != nil || rsp.GetCustomer().GetId() == "" {
		l.failed.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.created[email] = rsp.Customer.Id
}

func (l *load) change(ctx context.Context, o *owner) {
	o.asked++
	a, err := o.client.Post(ctx, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "name": "%d"}, "update_mask": "name"}`, o.id, o.asked))
	if err != nil || a.Code != http.StatusOK {
		l.failed.Add(1)
		return
	}
	o.answered = o.asked
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed++
}

// count is how many calls of each half were answered.
func (l *load) count() (created, changed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.created), l.changed
}

// more waits until n further calls have been answered, half of them over HTTP.
func (l *load) more(t *testing.T, n int, within time.Duration) {
	t.Helper()
	beforeCreated, beforeChanged := l.count()
	require.Eventually(t, func() bool {
		created, changed := l.count()
		return created >= beforeCreated+n/2 && changed >= beforeChanged+n/2
	}, within, rate, "calls are not answered any more")
}

// check looks for everything that was answered, when nothing calls any more.
func (l *load) check(t *testing.T, p *platform) {
	t.Helper()
	api := customers.NewCustomersService("customers", p.admin(t))
	for email, id := range l.created {
		rsp, err := api.Read(t.Context(), &customers.ReadRequest{Email: email})
		require.NoError(t, err, "%s was answered and is lost", email)
		require.Equal(t, id, rsp.Customer.Id)
	}
	for _, o := range l.owners {
		a, err := o.client.Post(t.Context(), "/customers/Read", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
		customer, _ := a.Fields()["customer"].(map[string]any)
		require.Equal(t, o.id, customer["id"])
		name, err := strconv.Atoi(fmt.Sprint(customer["name"]))
		require.NoError(t, err)
		require.True(t, o.answered <= name && name <= o.asked, "the name is %d, the last one answered %d, of %d", name, o.answered, o.asked)
	}
}

// recovery is how long a platform may take until it answers again after one of its processes was killed.
const recovery = 15 * time.Second

func TestNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	l := startLoad(t, p, "first")
	l.more(t, 50, recovery)

	for _, name := range []string{"customers", "registry", "broker", "store", "config", "auth", "events", "proxy", "runtime", "api"} {
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
			answers(t, l.owners[0].client, "/customers/Read", "{}", recovery)
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
	created, changed := l.count()
	t.Logf("%d customers and %d names were answered, all of them are there; %d calls failed meanwhile", created, changed, l.failed.Load())
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
	jane := p.as(t, client.Customer(p.customer(t, "jane@example.com")))
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
	answers(t, jane, "/customers/Read", "{}", recovery)
	require.Len(t, p.binaries(), 1)
}
