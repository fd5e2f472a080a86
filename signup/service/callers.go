package service

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// maxCallers is how many callers are remembered. Of more, those are forgotten who have not asked for longest.
const maxCallers = 10_000

// callers counts the mails that each caller asks for, in the memory of this process: as many as there may be in an hour at once,
// and then one in each part of an hour. Nil counts none.
type callers struct {
	perHour int

	mu   sync.Mutex
	each *simplelru.LRU[string, *rate.Limiter]
}

func newCallers(perHour int) *callers {
	if perHour == 0 {
		return nil
	}
	// It fails for a size that is not positive only.
	each, _ := simplelru.NewLRU[string, *rate.Limiter](maxCallers, nil)
	return &callers{perHour: perHour, each: each}
}

// count counts a mail that is asked for. It is an error (429), and not counted, when its caller has asked for too many.
func (c *callers) count(ctx context.Context, now time.Time) error {
	caller := callerOf(ctx)
	if c == nil || caller == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.each.Get(caller)
	if !ok {
		l = rate.NewLimiter(rate.Every(time.Hour/time.Duration(c.perHour)), c.perHour)
		c.each.Add(caller, l)
	}
	if l.AllowN(now, 1) {
		return nil
	}
	wait := (1 - l.TokensAt(now)) / float64(l.Limit())
	return errors.TooMany("too many mails were asked for from where this call comes from: try again in %d seconds",
		max(1, int(math.Ceil(wait))))
}

// callerOf is by what the calls from where a call comes from are counted together. It is empty for what comes from this machine,
// which may be a proxy in front of everybody, and for what has come through no connection.
func callerOf(ctx context.Context) string {
	address, said := auth.Origin(ctx)
	if !said || address.IsLoopback() {
		return ""
	}
	return auth.Network(address)
}
