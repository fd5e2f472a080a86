package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/rules"
	"github.com/micro/micro/v3/util/auth/token"
	"github.com/micro/micro/v3/util/auth/token/jwt"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// inner is an auth that counts what it is asked.
type inner struct {
	auth.Auth
	provider token.Provider

	mu        sync.Mutex
	inspected int
	asked     int
	rules     []*auth.Rule
	err       error
}

func (i *inner) Inspect(t string) (*auth.Account, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inspected++
	return i.provider.Inspect(t)
}

func (i *inner) Rules(...auth.RulesOption) ([]*auth.Rule, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	return i.rules, i.err
}

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

// keys makes an RSA key as Micro takes it: base64 of PEM.
var keys = sync.OnceValues(func() (private, public string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), encode("PUBLIC KEY", der)
})

func setup(t testing.TB) (*inner, *Local) {
	t.Helper()
	private, public := keys()
	i := &inner{provider: jwt.NewTokenProvider(token.WithPrivateKey(private), token.WithPublicKey(public))}
	return i, NewLocal(i)
}

func (i *inner) issue(t testing.TB, id string, expiry time.Duration) string {
	t.Helper()
	issued, err := i.provider.Generate(&auth.Account{ID: id, Type: "user", Scopes: []string{"admin"}}, token.WithExpiry(expiry))
	require.NoError(t, err)
	return issued.Token
}

func TestTokenIsCheckedOnce(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	issued := i.issue(t, "jane", time.Hour)
	for range 10 {
		account, err := l.Inspect(issued)
		require.NoError(t, err)
		require.Equal(t, "jane", account.ID)
		account.ID = "changed by whoever got it"
	}
	inspected, _ := i.counts()
	require.Equal(t, 1, inspected)
}

func TestRememberedTokenEndsAtItsExpiry(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	now := time.Now()
	l.clock = func() time.Time { return now }
	issued := i.issue(t, "jane", time.Hour)
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
	i, l := setup(t)
	good := i.issue(t, "jane", time.Hour)
	expired := i.issue(t, "jane", -time.Hour)
	for name, bad := range map[string]string{
		"empty": "", "no token": "x", "dots": "..", "cut": good[:len(good)-5], "changed": good[:20] + "A" + good[21:], "expired": expired,
		"alg none": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
			base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"jane","exp":9999999999}`)) + ".",
	} {
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
		l.remember([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}, known{expiry: time.Now().Add(time.Hour)})
		require.LessOrEqual(t, len(l.tokens), maxTokens)
	}
}

func TestRulesOutliveTheAuthService(t *testing.T) {
	t.Parallel()
	i, l := setup(t)
	now := time.Now()
	l.clock = func() time.Time { return now }
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

	now = now.Add(RulesAge)
	require.NoError(t, l.Verify(nil, resource))
	require.Eventually(t, func() bool { _, n := i.counts(); return n == asked+1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Verify(nil, resource), "the known ones stay in effect")

	i.set([]*auth.Rule{}, nil)
	require.Eventually(t, func() bool {
		l.rulesMu.Lock()
		now = now.Add(retryAge)
		l.rulesMu.Unlock()
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

func TestExpiryOf(t *testing.T) {
	t.Parallel()
	i, _ := setup(t)
	rapid.Check(t, func(r *rapid.T) {
		seconds := rapid.Int64Range(1, 1_000_000).Draw(r, "seconds")
		got, ok := expiryOf(i.issue(t, "x", time.Duration(seconds)*time.Second))
		if !ok || got.Sub(time.Now().Add(time.Duration(seconds)*time.Second)).Abs() > 2*time.Second {
			r.Fatalf("%d seconds: %v %v", seconds, got, ok)
		}
	})
}

func FuzzExpiryOf(f *testing.F) {
	f.Add("a.b.c")
	f.Add("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":5}`)) + ".c")
	f.Fuzz(func(t *testing.T, s string) {
		if expiry, ok := expiryOf(s); ok && expiry.Unix() == 0 {
			t.Fatalf("%q has no expiry", s)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	i, l := setup(b)
	issued := i.issue(b, "jane", time.Hour)
	b.Run("each time", func(b *testing.B) {
		for b.Loop() {
			_, _ = i.Inspect(issued)
		}
	})
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			_, _ = l.Inspect(issued)
		}
	})
}
