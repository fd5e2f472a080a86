package auth

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/auth/rules"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// inner is an auth service that counts what it is asked. A token is the time at which it expires.
type inner struct {
	auth.Auth
	clock func() time.Time

	mu        sync.Mutex
	inspected int
	asked     int
	rules     []*auth.Rule
	err       error
	logins    int
	account   *auth.Account // whose all tokens are; nil is jane
}

func (i *inner) inspect(text string) (*auth.Account, time.Time, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inspected++
	expiry, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !i.clock().Before(expiry) {
		return nil, time.Time{}, auth.ErrInvalidToken
	}
	if i.account != nil {
		return i.account, expiry, nil
	}
	return &auth.Account{ID: "jane"}, expiry, nil
}

func (i *inner) Inspect(text string) (*auth.Account, error) {
	account, _, err := i.inspect(text)
	return account, err
}

func (i *inner) Rules(...auth.RulesOption) ([]*auth.Rule, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	return i.rules, i.err
}

// Token logs in unless the inner auth has an error to answer with.
func (i *inner) Token(opts ...auth.TokenOption) (*auth.AccountToken, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.logins++
	if i.err != nil {
		return nil, i.err
	}
	return &auth.AccountToken{AccessToken: fmt.Sprintf("%s %d", auth.NewTokenOptions(opts...).ID, i.logins), Expiry: time.Now().Add(200 * time.Millisecond)}, nil
}

func (i *inner) Options() auth.Options { return auth.Options{} }

func (i *inner) set(rules []*auth.Rule, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rules, i.err = rules, err
}

func (i *inner) counts() (inspected, asked int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.inspected, i.asked
}

func setup(t testing.TB) (*inner, *Local) {
	t.Helper()
	i := &inner{clock: time.Now}
	return i, NewLocal(Config{Auth: i, Inspect: i.inspect})
}

func issue(expiry time.Duration) string { return time.Now().Add(expiry).Format(time.RFC3339Nano) }

func TestTokenIsCheckedOnce(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	issued := issue(time.Hour)
	for range 10 {
		account, err := l.Inspect(issued)
		require.NoError(t, err)
		require.Equal(t, "jane", account.ID)
		account.ID = "changed by whoever got it"
	}
	inspected, _ := i.counts()
	require.Equal(t, 1, inspected)
}

// What callers that promise not to change an account are given is not copied; what all others get has nothing in common
// with it.
func TestAccountsAreShared(t *testing.T) { //nolint:paralleltest // Micro's auth is a global
	before := auth.DefaultAuth
	t.Cleanup(func() { auth.DefaultAuth = before })
	i, l := setup(t)
	i.account = &auth.Account{ID: "jane", Scopes: []string{"basic"}, Metadata: map[string]string{"a": "b"}}
	auth.DefaultAuth = l
	issued := issue(time.Hour)
	one, err := InspectShared(issued)
	require.NoError(t, err)
	two, err := InspectShared(issued)
	require.NoError(t, err)
	require.Same(t, one, two)
	for range 2 {
		own, err := l.Inspect(issued)
		require.NoError(t, err)
		require.Equal(t, one, own)
		own.Scopes[0], own.Metadata["a"] = "admin", "changed"
	}
	require.Equal(t, &auth.Account{ID: "jane", Scopes: []string{"basic"}, Metadata: map[string]string{"a": "b"}}, one)
	require.Nil(t, Clone(nil))

	auth.DefaultAuth = i
	own, err := InspectShared(issued)
	require.NoError(t, err)
	require.Equal(t, one, own, "any other auth is asked as it is")
}

func TestRememberedTokenEndsAtItsExpiry(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	now := time.Now()
	l.clock = func() time.Time { return now }
	issued := issue(time.Hour)
	_, err := l.Inspect(issued)
	require.NoError(t, err)
	now = now.Add(time.Hour + time.Second)
	_, err = l.Inspect(issued)
	require.NoError(t, err, "the real clock stands before the expiry")
	inspected, _ := i.counts()
	require.Equal(t, 2, inspected, "it was checked again")
}

func TestBadTokensAreNeverRemembered(t *testing.T) {
	t.Parallel()
	_, l := setup(t)
	for name, bad := range map[string]string{"empty": "", "no token": "x", "expired": issue(-time.Hour)} {
		for range 2 {
			_, err := l.Inspect(bad)
			require.Error(t, err, name)
		}
	}
	require.Empty(t, l.tokens)
}

func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	_, l := setup(t)
	for n := range 2 * maxTokens {
		l.remember(strconv.Itoa(n), known{expiry: time.Now().Add(time.Hour)})
		require.LessOrEqual(t, len(l.tokens), maxTokens)
	}
}

func TestRulesOutliveTheAuthService(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	begin, ahead := time.Now(), new(atomic.Int64)
	l.clock = func() time.Time { return begin.Add(time.Duration(ahead.Load())) }
	down := errors.New("connection refused")
	public := []*auth.Rule{{ID: "default", Scope: auth.ScopePublic, Access: auth.AccessGranted,
		Resource: &auth.Resource{Type: "*", Name: "*", Endpoint: "*"}}}
	resource := &auth.Resource{Type: "service", Name: "customers", Endpoint: "Customers.Read"}

	i.set(nil, down)
	require.ErrorIs(t, l.Verify(nil, resource), down, "nothing is known yet")
	i.set(public, nil)
	require.NoError(t, l.Verify(nil, resource))
	_, asked := i.counts()

	i.set(nil, down)
	require.NoError(t, l.Verify(nil, resource))
	_, again := i.counts()
	require.Equal(t, asked, again, "fresh rules are not asked for")

	ahead.Add(int64(RulesAge))
	require.NoError(t, l.Verify(nil, resource))
	require.Eventually(t, func() bool { _, n := i.counts(); return n == asked+1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Verify(nil, resource), "the known ones stay in effect")

	i.set([]*auth.Rule{}, nil)
	require.Eventually(t, func() bool {
		ahead.Add(int64(retryAge))
		return errors.Is(l.Verify(nil, resource), auth.ErrForbidden)
	}, 10*time.Second, time.Millisecond, "a change takes effect")
}

// What Verify finds out by itself is what Micro finds out.
func TestOneRule(t *testing.T) {
	t.Parallel()
	resource := &auth.Resource{Type: "service", Name: "customers", Endpoint: "Customers.Read"}
	rapid.Check(t, func(r *rapid.T) {
		i, l := setup(t)
		text := func(label string, other ...string) string {
			return rapid.SampledFrom(append(other, "*")).Draw(r, label)
		}
		known := []*auth.Rule{{
			ID:     "one",
			Scope:  text("scope", auth.ScopePublic, "admin"),
			Access: rapid.SampledFrom([]auth.Access{auth.AccessGranted, auth.AccessDenied}).Draw(r, "access"),
			Resource: &auth.Resource{
				Type: text("type", "service", "other"), Name: text("name", "customers", "other"),
				Endpoint: text("endpoint", "Customers.Read", "other"),
			},
		}}
		i.set(known, nil)
		account := rapid.SampledFrom([]*auth.Account{nil, {ID: "jane", Issuer: "micro"}}).Draw(r, "account")
		require.Equal(r, rules.VerifyAccess(known, account, resource), l.Verify(account, resource))
	})
}

func TestUnruled(t *testing.T) {
	t.Parallel()
	i := &inner{err: errors.New("nobody asks")}
	l := NewLocal(Config{Auth: i, Inspect: i.inspect, Unruled: true})
	require.NoError(t, l.Verify(nil, &auth.Resource{Type: "service", Name: "config", Endpoint: "Config.Get"}))
}

func TestProcessStaysLoggedIn(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	i.set(nil, microerrors.InternalServerError("go.micro.client", "connection refused"))
	go func() {
		for { // the auth service comes up after a few attempts
			i.mu.Lock()
			n := i.logins
			i.mu.Unlock()
			if n >= 3 {
				i.set(nil, nil)
				return
			}
			runtime.Gosched()
		}
	}()
	issued, err := l.Token(auth.WithCredentials("service/customers/latest", "secret"))
	require.NoError(t, err)
	require.Contains(t, issued.AccessToken, "service/customers/latest")
	require.Eventually(t, func() bool {
		now := l.Options().Token
		return now.AccessToken != issued.AccessToken && now.Expiry.After(issued.Expiry)
	}, 10*time.Second, time.Millisecond, "it is renewed before it ends")

	i.set(nil, microerrors.Unauthorized("auth", "refused"))
	_, err = l.Token(auth.WithCredentials("service/customers/latest", "wrong"))
	require.Error(t, err)
}

func TestEagerProcessDoesNotWait(t *testing.T) {
	t.Parallel()
	i := &inner{err: microerrors.InternalServerError("go.micro.client", "connection refused")}
	l := NewLocal(Config{Auth: i, Inspect: i.inspect, Eager: true})
	_, err := l.Token(auth.WithCredentials("platform/registry", "secret"))
	require.NoError(t, err)
	require.Nil(t, l.Options().Token)
	i.set(nil, nil)
	require.Eventually(t, func() bool { return l.Options().Token != nil }, 10*time.Second, time.Millisecond)
}

func BenchmarkInspect(b *testing.B) {
	_, l := setup(b)
	issued := issue(time.Hour)
	for b.Loop() {
		_, _ = l.Inspect(issued)
	}
}
