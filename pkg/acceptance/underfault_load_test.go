//go:build platform

package acceptance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	configpb "github.com/micro/micro/v3/proto/config"
	storepb "github.com/micro/micro/v3/proto/store"
	microclient "github.com/micro/micro/v3/service/client"
	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
)

const (
	// apiTimeout is what the platform gives a service to answer; deadline is what callers give the platform.
	apiTimeout, deadline = 10 * time.Second, 14 * time.Second
	// effectTime is how long an event may take to have its effect before whoever waits for it looks no more.
	effectTime = 20 * time.Second
)

// success is a call that was answered as it should.
type success struct{ begun, ended time.Time }

// The groups of calls: those with a key, changes of what is kept, and what comes of events.
const (
	calls = iota
	changes
	effects
)

// kind is one sort of calls: what callers of it have seen.
type kind struct {
	name  string
	group int

	mu        sync.Mutex
	successes []success
	failed    int
	longest   time.Duration
	lastError string
	// internal is how many failures were answered as if they were a mistake of ours, and not of an engine.
	internal     int
	lastInternal string
}

func (k *kind) saw(begun time.Time, failure string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.longest = max(k.longest, now.Sub(begun))
	if failure != "" {
		k.failed++
		k.lastError = failure
		if strings.Contains(failure, "internal error") {
			k.internal++
			k.lastInternal = failure
		}
		return
	}
	k.successes = append(k.successes, success{begun, now})
}

// since returns when the first call had succeeded that was begun after a time.
func (k *kind) since(t time.Time) (at time.Time, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range slices.Backward(k.successes) { // in the order in which they ended
		if s.ended.Before(t) {
			break
		}
		if s.begun.After(t) {
			at, ok = s.ended, true
		}
	}
	return at, ok
}

// outage is the longest time from some time on in which nothing succeeded.
func (k *kind) outage(from time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	longest, next := time.Duration(0), time.Now()
	for i := len(k.successes) - 1; i >= 0; i-- {
		ended := k.successes[i].ended
		longest, next = max(longest, next.Sub(ended)), ended
		if ended.Before(from) {
			break
		}
	}
	return longest
}

// counter is a value that somebody raises again and again.
type counter struct {
	name string
	// asked is the value that was asked for last, answered the one that was answered last.
	asked, answered int
}

// truth is what the clients of a platform know.
type truth struct {
	platform                                        *platform
	token                                           atomic.Pointer[string] // of an operator
	rpc                                             *client.RPC
	kinds                                           []*kind
	calls, creates, names, writes, configs, effects *kind

	people  []*person
	owners  []*owner
	records []*counter
	paths   []*counter

	mu      sync.Mutex
	created map[string]string // id by address

	http *http.Client
	stop func()
}

func startTruth(t *testing.T, p *platform) *truth {
	t.Helper()
	r := &truth{platform: p, created: make(map[string]string), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	p.HTTP = r.http
	for _, k := range []struct {
		at    **kind
		name  string
		group int
	}{
		{&r.calls, "calls with a key", calls}, {&r.creates, "customers made", changes}, {&r.names, "names changed", changes},
		{&r.writes, "store writes", changes}, {&r.configs, "config writes", changes}, {&r.effects, "effects of events", effects},
	} {
		*k.at = &kind{name: k.name, group: k.group}
		r.kinds = append(r.kinds, *k.at)
	}
	r.renew(t)
	r.rpc = p.RPC("")
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 4 {
		person := &person{platform: p.Client, email: fmt.Sprintf("person.%d@example.com", i), password: "secret of " + strconv.Itoa(i), subscribes: i%2 == 0}
		signing, done := context.WithTimeout(ctx, time.Minute)
		require.NoError(t, person.signUp(signing))
		if person.subscribes {
			require.NoError(t, person.subscribe(signing))
		}
		done()
		r.people = append(r.people, person)
	}
	for i := range 3 {
		id := p.customer(t, fmt.Sprintf("owner.%d@example.com", i))
		r.owners = append(r.owners, &owner{id: id})
		r.records = append(r.records, &counter{name: fmt.Sprintf("underfault-%d", i)})
		r.paths = append(r.paths, &counter{name: fmt.Sprintf("micro.underfault.n%d", i)})
	}
	var living sync.WaitGroup
	living.Go(func() {
		for range every(ctx, time.Minute) {
			r.renew(t)
		}
	})
	each := func(pause time.Duration, f func(i int)) {
		living.Go(func() {
			for i := range every(ctx, pause) {
				f(i)
			}
		})
	}
	for _, person := range r.people {
		each(100*time.Millisecond, func(int) { r.use(person) })
	}
	for i := range 3 {
		each(500*time.Millisecond, func(n int) { r.create(fmt.Sprintf("made.%d.%d@example.com", i, n)) })
		each(300*time.Millisecond, func(int) { r.change(r.owners[i]) })
		each(300*time.Millisecond, func(int) { r.write(r.records[i]) })
		each(500*time.Millisecond, func(int) { r.configure(r.paths[i]) })
	}
	each(250*time.Millisecond, func(n int) { living.Go(func() { r.effect(fmt.Sprintf("effect.%d@example.com", n)) }) })
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			living.Wait()
		})
	}
	t.Cleanup(func() {
		r.stop()
		r.http.CloseIdleConnections()
	})
	return r
}

// renew makes a token for an operator: they do not live as long as a long run.
func (r *truth) renew(t *testing.T) {
	token, err := r.platform.Issue(client.Admin)
	if err != nil {
		t.Errorf("issue a token: %v", err)
		return
	}
	r.token.Store(&token)
}

func (r *truth) operator() *client.RPC { return r.rpc.As(*r.token.Load()) }

// patient is the context of a call.
func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), deadline)
}

func said(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// wrong is what is wrong with an answer over HTTP.
func wrong(a client.Answer, err error) string {
	if err == nil && a.Code != http.StatusOK {
		return fmt.Sprintf("%d %s", a.Code, a.Body)
	}
	return said(err)
}

func (r *truth) use(p *person) {
	ctx, cancel := patient()
	defer cancel()
	begun := time.Now()
	a, err := p.sold.Post(ctx, "/v1/weather/Now", `{"place": "Paris"}`)
	r.calls.saw(begun, wrong(a, err))
	switch {
	case err != nil:
		p.uncertain++
	case a.Code == http.StatusOK:
		p.answered++
	default:
		p.refused++
	}
}

func (r *truth) create(email string) string {
	ctx, cancel := patient()
	defer cancel()
	begun := time.Now()
	rsp, err := customers.NewCustomersService("customers", r.operator()).Create(ctx, &customers.CreateRequest{Email: email}, inTime)
	id := rsp.GetCustomer().GetId()
	r.creates.saw(begun, said(err))
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.created[email] = id
	}
	return id
}

// inTime is how long Micro's client waits.
var inTime = microclient.WithRequestTimeout(apiTimeout)

func (r *truth) change(o *owner) {
	ctx, cancel := patient()
	defer cancel()
	begun := time.Now()
	token, err := r.platform.Issue(client.Customer(o.id))
	if err != nil {
		r.names.saw(begun, err.Error())
		return
	}
	o.asked++
	a, err := r.platform.As(token).Post(ctx, "/customers/Update",
		fmt.Sprintf(`{"customer": {"id": %q, "name": "%d"}, "update_mask": "name"}`, o.id, o.asked))
	failure := wrong(a, err)
	r.names.saw(begun, failure)
	if failure == "" {
		o.answered = o.asked
	}
}

func (r *truth) write(c *counter) {
	ctx, cancel := patient()
	defer cancel()
	begun := time.Now()
	c.asked++
	_, err := storepb.NewStoreService("store", r.operator()).Write(ctx, &storepb.WriteRequest{
		Record: &storepb.Record{Key: c.name, Value: []byte(strconv.Itoa(c.asked))},
	}, inTime)
	r.writes.saw(begun, said(err))
	if err == nil {
		c.answered = c.asked
	}
}

func (r *truth) configure(c *counter) {
	ctx, cancel := patient()
	defer cancel()
	begun := time.Now()
	c.asked++
	_, err := configpb.NewConfigService("config", r.operator()).Set(ctx, &configpb.SetRequest{
		Namespace: "micro", Path: c.name, Value: &configpb.Value{Data: strconv.Itoa(c.asked)},
	}, inTime)
	r.configs.saw(begun, said(err))
	if err == nil {
		c.answered = c.asked
	}
}

// effect makes a customer and waits until what that says has got to the other end: through the outbox, the stream and a
// service that forwards it.
func (r *truth) effect(email string) {
	begun := time.Now()
	id := r.create(email)
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), effectTime)
	defer cancel()
	for range every(ctx, 100*time.Millisecond) {
		found, err := r.platform.Forwarded(ctx, "customers_EventTypeCreated", id, 10)
		if err == nil && len(found) > 0 {
			r.effects.saw(begun, "")
			return
		}
	}
	r.effects.saw(begun, "no effect within "+effectTime.String())
}

// check compares what the clients know with what there is, when nobody calls any more.
func (r *truth) check(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	api := customers.NewCustomersService("customers", r.operator())
	for email, id := range r.created {
		rsp, err := api.Read(ctx, &customers.ReadRequest{Email: email})
		require.NoError(t, err, "%s was answered and is lost", email)
		require.Equal(t, id, rsp.Customer.Id)
	}
	for _, o := range r.owners {
		rsp, err := api.Read(ctx, &customers.ReadRequest{Id: o.id})
		require.NoError(t, err)
		requireBetween(t, "the name of "+o.id, rsp.Customer.Name, o.answered, o.asked)
	}
	for _, c := range r.records {
		rsp, err := storepb.NewStoreService("store", r.operator()).Read(ctx, &storepb.ReadRequest{Key: c.name})
		require.NoError(t, err)
		require.Len(t, rsp.Records, 1)
		requireBetween(t, c.name, string(rsp.Records[0].Value), c.answered, c.asked)
	}
	for _, c := range r.paths {
		rsp, err := configpb.NewConfigService("config", r.operator()).Get(ctx, &configpb.GetRequest{Namespace: "micro", Path: c.name})
		require.NoError(t, err)
		var n json.Number
		require.NoError(t, json.Unmarshal([]byte(rsp.Value.Data), &n), "%s is %s", c.name, rsp.Value.Data)
		requireBetween(t, c.name, n.String(), c.answered, c.asked)
	}
	r.checkEffects(t)
	for _, person := range r.people { // the tokens that they had may be over
		person.own = r.platform.as(t, client.Customer(person.id))
	}
	checkStory(t, r.platform, r.people)
	for _, k := range r.kinds {
		t.Logf("%-18s %6d answered, %5d failed, %d of them with an internal error, longest %6s; the last: %.300s", k.name,
			len(k.successes), k.failed, k.internal, k.longest.Round(time.Millisecond), cmp.Or(k.lastInternal, k.lastError))
		require.NotEmpty(t, k.successes, k.name)
		bound := deadline
		if k == r.effects {
			bound += effectTime
		}
		require.Less(t, k.longest, bound+2*time.Second, "%s: callers hang", k.name)
		require.Zero(t, k.internal, "%s: callers are told that it is a mistake of ours: %s", k.name, k.lastInternal)
	}
}

// checkEffects looks for the effect of every customer that was made: each has it once.
func (r *truth) checkEffects(t *testing.T) {
	t.Helper()
	var missing []string
	require.Eventually(t, func() bool {
		all, err := r.platform.Forwarded(t.Context(), "customers_EventTypeCreated", "", 100_000)
		if err != nil {
			return false
		}
		times := make(map[string]int)
		for _, e := range all {
			id, _ := e.Properties["distinct_id"].(string)
			times[id]++
			require.Equal(t, 1, times[id], "the event of %s has its effect more than once", id)
		}
		missing = missing[:0]
		for _, id := range r.created {
			if times[id] == 0 {
				missing = append(missing, id)
			}
		}
		return len(missing) == 0
	}, time.Minute, 500*time.Millisecond, "events without an effect")
	require.Empty(t, missing)
}

func requireBetween(t *testing.T, what, got string, least, most int) {
	t.Helper()
	n, err := strconv.Atoi(got)
	require.NoError(t, err, "%s is %q", what, got)
	require.True(t, least <= n && n <= most, "%s is %d; the last one answered was %d, of %d", what, n, least, most)
}
