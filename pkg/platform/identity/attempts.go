package identity

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// How many attempts may fail: at first a burst, then one in each interval.
const (
	accountBurst    = 10
	accountInterval = 30 * time.Second
	addressBurst    = 50
	addressInterval = 5 * time.Second
	// maxBuckets bounds how many accounts, and how many addresses, are remembered.
	maxBuckets = 10_000
)

// attempts counts the failed attempts to log in, by account and by address. Those that succeed cost nothing.
type attempts struct {
	clock func() time.Time

	mu        sync.Mutex
	accounts  buckets
	addresses buckets
}

// buckets has a token bucket for whatever has failed lately; what is missing has a full one.
type buckets struct {
	byKey    map[string]*rate.Limiter
	burst    int
	interval time.Duration
}

func newAttempts(clock func() time.Time) *attempts {
	return &attempts{
		clock:     clock,
		accounts:  buckets{make(map[string]*rate.Limiter), accountBurst, accountInterval},
		addresses: buckets{make(map[string]*rate.Limiter), addressBurst, addressInterval},
	}
}

// source is who makes an attempt: at which account, and from where. An empty account is not counted.
type source struct{ account, address string }

// check returns an error (429) if too many attempts of the source have failed.
func (a *attempts) check(s source) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	wait := a.addresses.wait(s.address, now)
	if s.account != "" {
		wait = max(wait, a.accounts.wait(s.account, now))
	}
	if wait > 0 {
		return errors.TooMany("too many attempts have failed: try again in %d seconds", int(math.Ceil(wait.Seconds())))
	}
	return nil
}

// failed counts an attempt that has failed.
func (a *attempts) failed(s source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	a.addresses.take(s.address, now)
	if s.account != "" {
		a.accounts.take(s.account, now)
	}
}

// wait is how long it takes until the next attempt may be made.
func (b *buckets) wait(key string, now time.Time) time.Duration {
	l, ok := b.byKey[key]
	if !ok {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	if missing < 1e-9 { // what floating point leaves of nothing
		return 0
	}
	return time.Duration(missing * float64(b.interval))
}

func (b *buckets) take(key string, now time.Time) {
	l, ok := b.byKey[key]
	if !ok {
		b.makeRoom(now)
		l = rate.NewLimiter(rate.Every(b.interval), b.burst)
		b.byKey[key] = l
	}
	l.AllowN(now, 1)
}

// makeRoom forgets the buckets that are full again, which say nothing, and if there is none the fullest.
func (b *buckets) makeRoom(now time.Time) {
	if len(b.byKey) < maxBuckets {
		return
	}
	fullest, most := "", -1.0
	for key, l := range b.byKey {
		tokens := l.TokensAt(now)
		if tokens >= float64(b.burst) {
			delete(b.byKey, key)
		} else if tokens > most {
			fullest, most = key, tokens
		}
	}
	if len(b.byKey) >= maxBuckets {
		delete(b.byKey, fullest)
	}
}

// addressOf is by what the calls from where a call comes from are counted together.
func addressOf(ctx context.Context) string {
	address, _ := access.Origin(ctx)
	return access.Network(address)
}
