package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	billing "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
	usage "github.com/m3o/backend/usage/proto"
)

const (
	// people is how many customers live through the faults at once, callPause the time between two calls of one of them: two
	// hundred calls a second together.
	people    = 20
	callPause = 100 * time.Millisecond
	// kills is how many processes are killed while they call, before all are.
	kills = 14
)

// person is a customer who does not give up.
type person struct {
	platform        *client.Client
	email, password string
	subscribes      bool

	id   string
	own  *client.Client // with a token
	sold *client.Client // with a key
	// answered is how many calls were answered, uncertain how many got no answer at all: each of these may count or not.
	answered, uncertain, refused int
}

// insist makes a call again and again until it is answered with one of the codes, and returns that answer.
func insist(ctx context.Context, c *client.Client, path, body string, codes ...int) (client.Answer, error) {
	var last string
	for {
		a, err := c.Post(ctx, path, body)
		for _, code := range append(codes, http.StatusOK) {
			if err == nil && a.Code == code {
				return a, nil
			}
		}
		if last = fmt.Sprint(a.Code, " ", string(a.Body), err); ctx.Err() != nil {
			return a, fmt.Errorf("%s is not answered: %s", path, last)
		}
		if !pause(ctx, 5*rate) {
			return a, fmt.Errorf("%s is not answered: %s", path, last)
		}
	}
}

// pause waits, and says whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	for i := range every(ctx, d) {
		if i == 0 {
			return true
		}
	}
	return false
}

// signUp becomes a customer, whatever dies meanwhile: what was not answered is asked again, and what may have happened is
// looked at.
func (p *person) signUp(ctx context.Context) error {
	login := fmt.Sprintf(`{"email": %q, "password": %q}`, p.email, p.password)
	for {
		if _, err := insist(ctx, p.platform, "/signup/SendVerificationEmail", fmt.Sprintf(`{"email": %q}`, p.email)); err != nil {
			return err
		}
		mails, err := p.platform.Mails(p.email)
		if err != nil {
			return err
		}
		token := "none"
		for _, m := range mails {
			if m.Token() != "" {
				token = m.Token()
			}
		}
		_, err = insist(ctx, p.platform, "/signup/CompleteSignup",
			fmt.Sprintf(`{"email": %q, "token": %q, "secret": %q}`, p.email, token, p.password), http.StatusBadRequest)
		if err != nil {
			return err
		}
		a, err := insist(ctx, p.platform, "/customers/Login", login, http.StatusUnauthorized)
		if err != nil {
			return err
		}
		if a.Code != http.StatusOK {
			continue // the token was not good any more, and the signup is not complete
		}
		issued, _ := a.Fields()["token"].(map[string]any)
		access, _ := issued["access_token"].(string)
		p.own = p.platform.As(access)
		break
	}
	a, err := insist(ctx, p.own, "/customers/Read", `{}`)
	if err != nil {
		return err
	}
	customer, _ := a.Fields()["customer"].(map[string]any)
	p.id, _ = customer["id"].(string)
	if a, err = insist(ctx, p.own, "/customers/Keys/GenerateKey", `{}`); err != nil {
		return err
	}
	key, _ := a.Fields()["api_key"].(string)
	p.sold = p.platform.WithKey(key)
	return nil
}

// subscribe subscribes to the tier pro.
func (p *person) subscribe(ctx context.Context) error {
	if _, err := insist(ctx, p.own, "/billing/SetupCard", `{}`); err != nil {
		return err
	}
	a, err := insist(ctx, p.own, "/billing/ListCards", `{}`)
	if err != nil {
		return err
	}
	cards, _ := a.Fields()["cards"].([]any)
	if len(cards) == 0 {
		return fmt.Errorf("there is no card: %s", a.Body)
	}
	card, _ := cards[0].(map[string]any)
	_, err = insist(ctx, p.own, "/billing/SubscribeTier",
		fmt.Sprintf(`{"id": "pro", "card_id": %q, "idempotency_key": %q}`, card["id"], uuid.NewString()))
	return err
}

// use calls until the context ends.
func (p *person) use(ctx context.Context, call context.Context) {
	for range every(ctx, callPause) {
		a, err := p.sold.Post(call, "/v1/weather/Now", `{"place": "Paris"}`)
		switch {
		case err != nil:
			p.uncertain++
		case a.Code == http.StatusOK:
			p.answered++
		default:
			p.refused++
		}
	}
}

// bootStory boots a platform on which an API is sold, with quotas that nobody reaches.
func bootStory(t *testing.T) *platform {
	t.Helper()
	p := boot(t)
	p.runStory(t)
	return p
}

// runStory runs all services, and sells one.
func (p *platform) runStory(t *testing.T) {
	t.Helper()
	p.runStoryFrom(t, repository)
}

// runStoryFrom is runStory with the services of a source tree.
func (p *platform) runStoryFrom(t *testing.T, root string) {
	t.Helper()
	for key, value := range map[string]string{
		"micro.billing.tiers": `{
			"free": {"name": "Free", "monthly_quota": 1000000, "rate_limit": 1000},
			"pro": {"name": "Pro", "price": 3500, "monthly_quota": 1000000, "rate_limit": 1000}}`,
		"micro.usage.quotas":          `{"free": 1000000, "pro": 1000000}`,
		"micro.signup.mails_per_hour": `100`,
	} {
		out, err := p.Run(t.Context(), "config", "set", key, value)
		require.NoError(t, err, out)
	}
	for _, args := range [][]string{{"run", "customers", "billing", "usage", "signup", "mixpanel"}, {"run", "--sold", "pkg/acceptance/weather"}} {
		for i, arg := range args {
			if i > 0 && arg != "--sold" {
				args[i] = filepath.Join(root, arg)
			}
		}
		out, err := p.Run(t.Context(), args...)
		require.NoError(t, err, out)
	}
	_, err := billing.NewBillingService("billing", p.admin(t)).PublishAPI(t.Context(), &billing.PublishAPIRequest{
		ApiName: "weather", Endpoints: []*billing.Endpoint{{Name: "Now", Price: 100}},
	})
	require.NoError(t, err)
}

// The whole story for many at once, while everything dies: what was answered is counted, and nothing happens twice.
func TestTheStoryUnderFaults(t *testing.T) {
	t.Parallel()
	p := bootStory(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	calling, stop := context.WithCancel(ctx)
	defer stop()

	everybody := make([]*person, people)
	failures := make(chan error, people)
	var begun, living sync.WaitGroup
	begun.Add(people)
	for i := range everybody {
		everybody[i] = &person{
			platform: p.Client, email: fmt.Sprintf("person.%d@example.com", i), password: "secret of " + strconv.Itoa(i), subscribes: i%2 == 0,
		}
		living.Go(func() {
			person := everybody[i]
			err := person.signUp(ctx)
			begun.Done()
			if err == nil {
				calls := make(chan struct{})
				go func() {
					defer close(calls)
					person.use(calling, ctx)
				}()
				if person.subscribes {
					err = person.subscribe(ctx)
				}
				<-calls
			}
			if err != nil {
				failures <- fmt.Errorf("%s: %w", person.email, err)
			}
		})
	}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	victims := append([]string{"registry", "broker", "store", "config", "auth", "events", "proxy", "runtime", "api", "weather"}, services...)
	for i := range kills {
		if i == 0 {
			random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		}
		require.True(t, pause(ctx, time.Duration(100+random.IntN(900))*time.Millisecond))
		name := victims[i]
		victim := p.pid(t, name)
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		require.Eventually(t, func() bool { now := p.find(name); return now != 0 && now != victim }, recovery, rate, "%s does not come back", name)
	}
	begun.Wait()
	require.True(t, pause(ctx, 2*time.Second)) // some calls of everybody
	p.killTree()
	require.Eventually(t, func() bool { return len(p.binaries()) == 0 }, recovery, rate, "nothing outlives the server")
	require.True(t, p.start(t, services...))
	require.True(t, pause(ctx, 2*time.Second))
	stop()
	living.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	checkStory(t, p, everybody)
}

// checkStory compares what everybody remembers with what the platform does.
func checkStory(t *testing.T, p *platform, everybody []*person) {
	t.Helper()
	counters := usage.NewUsageService("usage", p.admin(t))
	accounts := billing.NewBillingService("billing", p.admin(t))
	answered, uncertain, refused, counted := 0, 0, 0, 0
	for _, person := range everybody {
		answered, uncertain, refused = answered+person.answered, uncertain+person.uncertain, refused+person.refused
		var n int
		require.Eventually(t, func() bool {
			rsp, err := counters.ReadMonthlyTotal(t.Context(), &usage.ReadMonthlyTotalRequest{CustomerId: person.id})
			if err != nil {
				return false
			}
			n = int(rsp.Requests)
			return n >= person.answered
		}, recovery, 5*rate, "of %d calls that were answered to %s not all are counted", person.answered, person.email)
		require.LessOrEqual(t, n, person.answered+person.uncertain, "%s: more is counted than was called", person.email)
		counted += n

		mails, err := p.Mails(person.email)
		require.NoError(t, err)
		welcomes := 0
		for _, m := range mails {
			if strings.Contains(m.Subject, "elcome") {
				welcomes++
			}
		}
		require.Equal(t, 1, welcomes, "welcomes to %s", person.email)

		want := map[string]int{
			"customers_EventTypeCreated": 1, "customers_EventTypeVerified": 1, "customers_EventTypeSignup": 1,
			"requests_EventTypeRequests": n, "customers_EventTypeSubscriptionChanged": 0,
		}
		tier := "free"
		if person.subscribes {
			tier = "pro"
			want["customers_EventTypeSubscriptionChanged"] = 1
		}
		account, err := accounts.ReadAccount(t.Context(), &billing.ReadAccountRequest{Id: person.id})
		require.NoError(t, err)
		require.Equal(t, tier, account.Account.Tier, person.email)
		a, err := insist(t.Context(), person.own, "/customers/Keys/ListKeys", "{}")
		require.NoError(t, err)
		keys, _ := a.Fields()["keys"].([]any)
		want["customers_EventTypeGenerateKey"] = len(keys)
		require.Eventually(t, func() bool {
			got, err := p.eventCounts(t.Context(), person.id)
			if err != nil {
				return false
			}
			for name, n := range want {
				require.LessOrEqual(t, got[name], n, "%s of %s", name, person.email)
				if got[name] < n {
					return false
				}
			}
			return true
		}, 2*recovery, 5*rate, "not every event of %s is at the sink", person.email)
	}
	t.Logf("%d calls were answered, %d got no answer, %d were refused; %d are counted", answered, uncertain, refused, counted)
	require.NotZero(t, answered)
}

// find is the process of a service of ours or of the platform's; 0 if there is none.
func (p *platform) find(name string) int {
	for _, b := range p.binaries() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.pid))
		if err == nil && slices.Contains(strings.Split(string(env), "\x00"), "MICRO_SERVICE_NAME="+name) {
			return b.pid
		}
	}
	for _, c := range p.tree() {
		if strings.HasSuffix(c.command, " service "+name) {
			return c.pid
		}
	}
	return 0
}

// pid waits for a process and returns it.
func (p *platform) pid(t *testing.T, name string) int {
	t.Helper()
	pid := 0
	require.Eventually(t, func() bool { pid = p.find(name); return pid != 0 }, recovery, rate, "%s does not run", name)
	return pid
}

// eventCounts is how many events of each name the sink has of a customer.
func (p *platform) eventCounts(ctx context.Context, customer string) (map[string]int, error) {
	events, err := p.Forwarded(ctx, "", customer, 100_000)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, e := range events {
		counts[e.Name]++
	}
	return counts, nil
}
