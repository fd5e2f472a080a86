package acceptance

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sell runs the weather, publishes it, and returns an API key of a new customer and the customer's id.
func (p *platform) sell(t *testing.T) (key, id string) {
	t.Helper()
	out, err := p.Run(t.Context(), "run", "--sold", filepath.Join(repository, "pkg/acceptance/weather"))
	require.NoError(t, err, out)
	admin := p.admin(t)
	ask := func(service, endpoint, body string) map[string]any {
		answer, err := admin.JSON(t.Context(), service, endpoint, body)
		require.NoError(t, err, endpoint)
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(answer), &fields))
		return fields
	}
	ask("billing", "Billing.PublishAPI", `{"api_name": "weather", "endpoints": [{"name": "Now", "price": "100"}]}`)
	id = p.customer(t, "buyer@example.com")
	ask("customers", "Customers.MarkVerified", `{"id": "`+id+`"}`)
	ask("customers", "Customers.Activate", `{"id": "`+id+`"}`)
	key, _ = ask("customers", "Keys.GenerateKey", `{"customer_id": "`+id+`"}`)["api_key"].(string)
	require.NotEmpty(t, key)
	require.Eventually(t, func() bool {
		_, err := p.RPC("").JSON(t.Context(), "weather", "Debug.Health", "{}")
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "it answers")
	return key, id
}

// buy calls the weather with a key.
func (p *platform) buy(ctx context.Context, key string) (code int, body string) {
	a, err := p.WithKey(key).Post(ctx, "/v1/weather/Now", `{"place": "Oslo"}`)
	if err != nil {
		return 0, err.Error()
	}
	return a.Code, string(a.Body)
}

// used is how many calls of a customer are counted.
func (p *platform) used(t *testing.T, id string) int {
	t.Helper()
	answer, err := p.admin(t).JSON(t.Context(), "usage", "Usage.ReadMonthlyTotal", `{"customer_id": "`+id+`"}`)
	if err != nil {
		return -1
	}
	var total struct {
		Requests int `json:"requests,string"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &total))
	return total.Requests
}

// Calls with a key through the whole platform, while the API, usage and customers are killed: what was answered is counted.
func TestGateway(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers", "billing", "usage")
	key, id := p.sell(t)
	code, body := p.buy(t.Context(), key)
	require.Equal(t, http.StatusOK, code, body)
	code, body = p.buy(t.Context(), key+"x")
	require.Equal(t, http.StatusUnauthorized, code, body)
	require.Eventually(t, func() bool { return p.used(t, id) == 1 }, 20*time.Second, 50*time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	var answered, asked atomic.Int64
	answered.Add(1)
	codes := make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				asked.Add(1)
				code, _ := p.buy(t.Context(), key)
				if code == http.StatusOK {
					answered.Add(1)
				}
				mu.Lock()
				codes[code]++
				mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
	goOn := func(n int64) {
		from := answered.Load()
		require.Eventually(t, func() bool { return answered.Load() > from+n }, time.Minute, 10*time.Millisecond)
	}
	goOn(100)
	for range 3 {
		require.NoError(t, syscall.Kill(p.core(t, "api"), syscall.SIGKILL))
		goOn(100)
		for _, b := range p.binaries() {
			_ = syscall.Kill(b.pid, syscall.SIGKILL)
		}
		goOn(100)
	}
	cancel()
	wg.Wait()
	t.Logf("%d asked, %d answered, codes %v", asked.Load(), answered.Load(), codes)
	require.Eventually(t, func() bool { return p.used(t, id) >= int(answered.Load()) }, time.Minute, 100*time.Millisecond,
		"%d answered, %d counted", answered.Load(), p.used(t, id))
	n := p.used(t, id)
	require.LessOrEqual(t, n, int(asked.Load()))
	t.Logf("%d counted", n)
}
