package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/client"
	"golang.org/x/time/rate"

	billing "github.com/m3o/backend/billing/proto"
	usage "github.com/m3o/backend/usage/proto"
)

// usageAges are those of what usage says of a customer. Without usage, a customer of whom it was asked once is counted here.
var usageAges = ages{fresh: time.Second, limit: 2 * time.Second, grace: forever}

const (
	// maxAccounts is how many customers are remembered.
	maxAccounts = 50_000
	// askAgain is how often usage is asked of a customer at most, who has used the quota up: a tier that was subscribed to
	// just now is to count at once.
	askAgain = 200 * time.Millisecond
	// unlimited is the quota of a customer who has none.
	unlimited = -1
)

// month is a calendar month, UTC: a year times twelve and a month.
type month int

func monthOf(t time.Time) month {
	t = t.UTC()
	return month(t.Year()*12 + int(t.Month()))
}

// endOf is when the month of a time ends.
func endOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// standing is what usage says of a customer.
type standing struct {
	quota int64 // or unlimited
	tier  string
}

// account is what the gateway knows of one customer.
type account struct {
	id    string
	usage remembered[standing]

	mu sync.Mutex
	// present is what was counted this month, and before in the one that the clock was in before it, for when it is set back.
	present, before tally
	// epochs is how many there have been.
	epochs int

	limiter *rate.Limiter
	perSec  int64
}

// tally is what was counted of one customer in one month.
type tally struct {
	month month
	// begun says that usage has been asked.
	begun bool
	// epoch is another one when base changes, and passed begins anew.
	epoch int
	// latest is what usage says was counted; base what it said before anything that this process has let through, and passed
	// how much that is, those calls among it that are under way.
	latest, base, passed int64
}

// begin begins counting at what usage says; a.mu is held.
func (a *account) begin(used int64) {
	a.epochs++
	a.present.epoch, a.present.latest, a.present.base, a.present.passed = a.epochs, used, used, 0
}

// turn follows the clock to another month; a.mu is held, also while the clock is read, so that it goes back only if somebody has
// set it. Of the next month nothing was counted yet. When the clock is set back to the one before, what was counted then is
// known; of another one only usage knows it.
func (a *account) turn(to month) {
	switch last := a.present; {
	case to == last.month:
	case to == a.before.month:
		a.present, a.before = a.before, tally{}
	case to > last.month:
		a.present, a.before = tally{month: to, begun: last.begun}, last
		a.begin(0)
	default:
		a.present, a.before = tally{month: to}, tally{}
		a.begin(0)
	}
}

// learn takes in what usage says of a month, unless it is over.
func (a *account) learn(clock func() time.Time, of month, used int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if monthOf(clock()) != of { // it may be of either
		return
	}
	a.turn(of)
	if !a.present.begun || used < a.present.latest { // an operator has corrected it, or the clock of usage was still in the month before
		a.begin(used)
		a.present.begun = true
		return
	}
	a.present.latest = used
}

// take lets a call through if there is any of the quota left, and tells in which epoch, and when.
func (a *account) take(clock func() time.Time, quota int64) (epoch int, now time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now = clock()
	a.turn(monthOf(now))
	p := &a.present
	if quota != unlimited && max(p.latest, p.base+p.passed) >= quota {
		return 0, now, false
	}
	p.passed++
	return p.epoch, now, true
}

// giveBack takes a call back that was let through in an epoch.
func (a *account) giveBack(epoch int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch epoch {
	case a.present.epoch:
		a.present.passed--
	case a.before.epoch:
		a.before.passed--
	}
}

// withinRate takes a call of so many a second.
func (a *account) withinRate(now time.Time, perSec int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limiter == nil || a.perSec != perSec {
		a.limiter, a.perSec = rate.NewLimiter(rate.Limit(perSec), burst(perSec)), perSec
	}
	return a.limiter.AllowN(now, 1)
}

// burst is how many calls may come at once: those of a second.
func burst(perSec int64) int { return int(min(perSec, 1<<30)) }

// accounts knows the customers who have called lately.
type accounts struct {
	service usage.UsageService
	clock   func() time.Time
	known   *shards[string, *account]
}

func newAccounts(service usage.UsageService, clock func() time.Time) *accounts {
	return &accounts{service: service, clock: clock, known: newShards[string, *account](maxAccounts)}
}

// of returns the account of a customer.
func (a *accounts) of(customer string) *account {
	return a.known.getOr(customer, func() *account { return &account{id: customer} })
}

// ask asks usage about a customer.
func (a *accounts) ask(of *account) asker[standing] {
	return func(ctx context.Context) (standing, error) {
		before := monthOf(a.clock())
		rsp, err := a.service.ReadMonthly(ctx, &usage.ReadMonthlyRequest{CustomerId: of.id}, client.WithAuthToken())
		if err != nil {
			return standing{}, err
		}
		of.learn(a.clock, before, rsp.Requests["*"])
		s := standing{quota: unlimited, tier: rsp.Tier}
		if quota, ok := rsp.Quotas["*"]; ok {
			s.quota = max(0, quota)
		}
		return s, nil
	}
}

// tiers are how many calls a second each tier has.
type tiers map[string]int64

// askTiers asks billing for the tiers.
func askTiers(service billing.BillingService) asker[tiers] {
	return func(ctx context.Context) (tiers, error) {
		rsp, err := service.ListTiers(ctx, new(billing.ListTiersRequest), client.WithAuthToken())
		if err != nil {
			return nil, err
		}
		all := make(tiers, len(rsp.Tiers))
		for _, t := range rsp.Tiers {
			all[t.Id] = t.RateLimit
		}
		return all, nil
	}
}

// rate is how many calls a second a tier has; of one that billing does not list, what the slowest has that has any.
func (t tiers) rate(tier string) int64 {
	if perSec, ok := t[tier]; ok {
		return perSec
	}
	slowest := int64(0)
	for _, perSec := range t {
		if perSec > 0 && (slowest == 0 || perSec < slowest) {
			slowest = perSec
		}
	}
	return slowest
}
