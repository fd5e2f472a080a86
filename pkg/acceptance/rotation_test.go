package acceptance

import (
	"context"
	"database/sql"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
)

// heir finds in a refusal which key has the place of the one that was rotated before.
var heir = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// rotateOn rotates a key, what has its place, and so on, whatever happens to the service meanwhile.
func rotateOn(ctx context.Context, keys customers.KeysService, customer, key string, done *atomic.Int64) {
	for range every(ctx, rate) {
		rsp, err := keys.RotateKey(context.Background(), &customers.RotateKeyRequest{CustomerId: customer, Id: key})
		switch {
		case err == nil:
			key = rsp.ApiKeyId
			done.Add(1)
		case errors.FromError(err).Code == http.StatusConflict: // the answer was lost
			key = heir.FindString(errors.FromError(err).Detail)
		}
	}
}

// Keys are rotated while customers is killed again and again: each rotation is wholly done or wholly not, and its event is out once.
func TestRotationUnderFaults(t *testing.T) {
	t.Parallel()
	const chains, kills = 4, 6
	p := boot(t, "customers", "usage")
	id := p.customer(t, "jane@example.com")
	p.activate(t, id)
	keys := customers.NewKeysService("customers", p.admin(t))
	count := func(service, query string) int {
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(p.State, "service", service, "db.sqlite")+"?mode=ro")
		require.NoError(t, err)
		defer db.Close() //nolint:errcheck // the test ends
		n, err := strconv.Atoi(textOf(t, db, query)[0])
		require.NoError(t, err)
		return n
	}
	const happened = "SELECT COALESCE(SUM(sequence), 0) FROM customers_sequences"
	var wg sync.WaitGroup
	var done atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made []string
	for range chains {
		rsp, err := keys.GenerateKey(t.Context(), &customers.GenerateKeyRequest{CustomerId: id})
		require.NoError(t, err)
		made = append(made, rsp.ApiKeyId)
	}
	before := count("customers", happened)
	for _, key := range made {
		wg.Go(func() { rotateOn(ctx, keys, id, key, &done) })
	}
	for range kills {
		from := done.Load()
		require.Eventually(t, func() bool { return done.Load() > from+20 }, time.Minute, time.Millisecond)
		for _, b := range p.binaries() {
			_ = syscall.Kill(b.pid, syscall.SIGKILL) // it may have ended
		}
	}
	from := done.Load()
	require.Eventually(t, func() bool { return done.Load() > from }, time.Minute, 10*time.Millisecond)
	cancel()
	wg.Wait()

	rotated := count("customers", "SELECT COUNT(*) FROM customers_keys WHERE successor <> ''")
	t.Logf("%d rotations, %d of them answered", rotated, done.Load())
	require.GreaterOrEqual(t, rotated, int(done.Load()))
	require.Equal(t, chains, count("customers", "SELECT COUNT(*) FROM customers_keys WHERE successor = '' AND revoked = 0"))
	require.Equal(t, chains+rotated, count("customers", "SELECT COUNT(*) FROM customers_keys"))
	require.Zero(t, count("customers", `
		SELECT COUNT(*) FROM customers_keys WHERE successor <> '' AND successor NOT IN (SELECT id FROM customers_keys)`))
	require.Equal(t, rotated, count("customers", happened)-before, "an event each")
	require.Eventually(t, func() bool {
		return count("usage", "SELECT COALESCE(SUM(sequence), 0) FROM usage_positions WHERE consumer LIKE 'customers%'") ==
			count("customers", happened)
	}, time.Minute, 50*time.Millisecond, "and who listens has heard of each once")
}
