package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	billing "github.com/m3o/backend/billing/proto"
	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/gateway/journal"
	"github.com/m3o/backend/pkg/service/direct"
	usage "github.com/m3o/backend/usage/proto"
)

// Config is what a Gateway needs.
type Config struct {
	Keys    customers.KeysService
	Usage   usage.UsageService
	Billing billing.BillingService
	// Login returns the access token of gateway/<service>, which lives for token.MaxAccess.
	Login func(ctx context.Context, service string) (string, error)
	// Dir is where what was let through is kept until usage has it.
	Dir string
	// JournalBytes is how many bytes that may be, of this process and those that it takes over from: at least 1 MiB.
	JournalBytes int64
	// Registerer is where metrics are registered; nowhere when nil.
	Registerer prometheus.Registerer
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
	// Log writes one line; Micro's logger where it is nil.
	Log func(level logger.Level, format string, args ...any)
}

// minJournal is how large a journal is at least.
const minJournal = 1 << 20

func (c *Config) validate() error {
	switch {
	case c.Keys == nil || c.Usage == nil || c.Billing == nil || c.Login == nil:
		return errors.New("expected clients of customers, usage, billing and auth")
	case c.Dir == "":
		return errors.New("expected a directory")
	case c.JournalBytes < minJournal:
		return fmt.Errorf("a journal of %d bytes: expected at least %d", c.JournalBytes, minJournal)
	}
	return nil
}

// Gateway lets calls with an API key through, and counts them. It is safe for concurrent use.
type Gateway struct {
	config    Config
	clock     func() time.Time
	metrics   *metrics
	keys      *keys
	accounts  *accounts
	catalogue remembered[catalogue]
	prices    asker[catalogue]
	tiers     remembered[tiers]
	askTiers  asker[tiers]
	tokens    sync.Map // of *remembered[*direct.TokenFor], by the names of services
	journal   *journal.Journal
	sender    *sender
}

// New returns a gateway that has begun to hand on what was let through, by a process before it as well. It has to be closed.
func New(config Config) (*Gateway, error) {
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Log == nil {
		config.Log = func(level logger.Level, format string, args ...any) {
			logger.DefaultLogger.Logf(level, format, args...)
		}
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		config: config, clock: config.Clock,
		keys: newKeys(config.Keys, config.Clock), accounts: newAccounts(config.Usage, config.Clock),
		prices: askCatalogue(config.Billing), askTiers: askTiers(config.Billing),
	}
	var err error
	// Nothing of the journal is read before there are metrics.
	if g.journal, err = journal.Open(journal.Config{
		Dir: config.Dir, Max: config.JournalBytes, Segment: min(4<<20, config.JournalBytes/16),
		Failed: func(err error) { config.Log(logger.ErrorLevel, "Calls cannot be counted: %v", err) },
		Lost:   func(bytes int64) { g.metrics.damaged.Add(float64(bytes)) },
	}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if g.metrics, err = newMetrics(config.Registerer, config.Clock, g.journal); err != nil {
		return nil, errors.Join(fmt.Errorf("gateway: %w", err), g.journal.Close())
	}
	g.sender = startSender(g)
	return g, nil
}

// Check returns an error when no call can be let through because none can be counted.
func (g *Gateway) Check(context.Context) error { return g.journal.Check() }

// Close ends what the gateway does in the background. What was not handed on is, by the next process. No call may be under
// way.
func (g *Gateway) Close() error {
	g.sender.close()
	return g.journal.Close()
}

// Call is a call that was let through. It is followed by Count or by Release.
type Call struct {
	// Service and Endpoint are what to call.
	Service, Endpoint string
	// Token is what to call it with.
	Token *direct.TokenFor
	// Customer is who calls, and APIKey the id of their key.
	Customer, APIKey string

	gateway *Gateway
	account *account
	epoch   int
	listing *listing
	path    string
	begin   time.Time
	settled bool
}

// Admit finds out whether a call may be made, by its path as it stands in the request and by its header. It fails with a
// *Refusal.
func (g *Gateway) Admit(ctx context.Context, path string, header http.Header) (*Call, error) {
	c, refusal := g.admit(ctx, path, header)
	if refusal != nil {
		g.metrics.calls[refusal.result].Inc()
		return nil, refusal
	}
	g.metrics.calls[resultAllowed].Inc()
	return c, nil
}

func (g *Gateway) admit(ctx context.Context, path string, header http.Header) (*Call, *Refusal) {
	published, err := g.catalogue.get(ctx, g.clock, listAges, g.prices)
	if err != nil {
		return nil, g.undecided("the catalogue", err)
	}
	l, refusal := published.find(path)
	if refusal != nil {
		return nil, refusal
	}
	text, refusal := keyOf(header)
	if refusal != nil {
		return nil, refusal
	}
	k, err := g.keys.find(ctx, text)
	switch {
	case err != nil:
		return nil, g.undecided("the key", err)
	case k.refused != nil:
		return nil, k.refused
	case !k.allows(l):
		return nil, errScope
	}
	a := g.accounts.of(k.customer)
	epoch, begin, refusal := g.takeFrom(ctx, a)
	if refusal != nil {
		return nil, refusal
	}
	t, err := g.tokenFor(ctx, l.api)
	if err != nil {
		a.giveBack(epoch)
		return nil, g.undecided("the token", err)
	}
	if !g.journal.Reserve() {
		a.giveBack(epoch)
		return nil, errUncounted
	}
	return &Call{
		Service: l.api, Endpoint: l.rpc, Token: t, Customer: k.customer, APIKey: k.id,
		gateway: g, account: a, epoch: epoch, listing: l, path: path, begin: begin,
	}, nil
}

// takeFrom takes a call from a customer's rate and quota.
func (g *Gateway) takeFrom(ctx context.Context, a *account) (epoch int, now time.Time, refusal *Refusal) {
	ask := g.accounts.ask(a)
	s, err := a.usage.get(ctx, g.clock, usageAges, ask)
	if err != nil {
		return 0, now, g.undecided("the quota", err)
	}
	known, err := g.tiers.get(ctx, g.clock, listAges, g.askTiers)
	if err != nil {
		return 0, now, g.undecided("the tiers", err)
	}
	now = g.clock()
	switch perSec := known.rate(s.tier); {
	case perSec <= 0:
		return 0, now, errNoRate
	case !a.withinRate(now, perSec):
		return 0, now, errRate
	}
	epoch, now, ok := a.take(g.clock, s.quota)
	if ok {
		return epoch, now, nil
	}
	if s, ok := a.usage.again(ctx, g.clock, askAgain, ask); ok {
		if epoch, now, ok = a.take(g.clock, s.quota); ok {
			return epoch, now, nil
		}
	}
	return 0, now, errQuota(now)
}

// undecided says why nobody can tell whether a call may be made.
func (g *Gateway) undecided(what string, err error) *Refusal {
	if !errors.Is(err, context.Canceled) { // whose caller has gone
		g.metrics.unanswered(what)
		g.config.Log(logger.DebugLevel, "A call was not let through because %s could not be asked for: %v", what, err)
	}
	return errUndecided
}

// tokenAges are those of the gateway's token in a service: it is replaced when half of its time is over.
var tokenAges = ages{fresh: token.MaxAccess / 2, limit: token.MaxAccess - 20*time.Second}

// tokenFor is what a service is called with.
func (g *Gateway) tokenFor(ctx context.Context, service string) (*direct.TokenFor, error) {
	known, ok := g.tokens.Load(service)
	if !ok {
		known, _ = g.tokens.LoadOrStore(service, new(remembered[*direct.TokenFor]))
	}
	r, _ := known.(*remembered[*direct.TokenFor])
	return r.get(ctx, g.clock, tokenAges, func(ctx context.Context) (*direct.TokenFor, error) {
		text, err := g.config.Login(ctx, service)
		if err != nil {
			return nil, err
		}
		return &direct.TokenFor{Service: service, Authorization: "Bearer " + text}, nil
	})
}

// renewAgain is how long a token is kept at least, whatever a service says of it.
const renewAgain = time.Second

// Rejected says that the service does not take the call's token, as after a clock was set: the next call gets a new one, unless
// this one is not a second old. The call still has to be released.
func (c *Call) Rejected() {
	known, _ := c.gateway.tokens.Load(c.Service)
	if r, ok := known.(*remembered[*direct.TokenFor]); ok {
		r.forget(c.gateway.clock, renewAgain, func(t *direct.TokenFor) bool { return t == c.Token })
	}
}

// Release says that the call was not answered by the service, or that the answer is no fault of its caller: it is not counted.
// After Count, or once more, it does nothing.
func (c *Call) Release() {
	if c.settled {
		return
	}
	c.settled = true
	c.account.giveBack(c.epoch)
	c.gateway.journal.Release()
}

// Count counts the call, which the service has answered with an HTTP status. When it returns without an error the call is
// counted whatever happens to this process; with one it is not, and its caller must not have the answer.
func (c *Call) Count(status int) error {
	if c.settled {
		return errors.New("gateway: the call is settled already")
	}
	c.settled = true
	record, err := c.record(status)
	if err != nil {
		c.gateway.journal.Release()
	} else {
		err = c.gateway.journal.Append(record)
	}
	if err != nil {
		c.account.giveBack(c.epoch)
		c.gateway.metrics.uncounted.Inc()
		return errUncounted
	}
	return nil
}

// record is the call as usage is told of it.
func (c *Call) record(status int) ([]byte, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&usage.Request{
		Id: id.String(), CustomerId: c.Customer, ApiKeyId: c.APIKey, ApiName: c.listing.api, EndpointName: c.listing.endpoint,
		Url: c.path, Price: c.listing.price, Status: int32(status), Units: 1, Time: timestamppb.New(c.begin),
	})
}
