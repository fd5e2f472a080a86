package token_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	microauth "github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
)

func root(t testing.TB) token.Root {
	t.Helper()
	r, err := token.LoadRoot(t.TempDir())
	require.NoError(t, err)
	return r
}

func TestRootStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := token.LoadRoot(dir)
	require.NoError(t, err)
	require.Len(t, first, 32)
	again, err := token.LoadRoot(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NotEqual(t, first, root(t))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "root.key"), []byte("short"), 0o600))
	_, err = token.LoadRoot(dir)
	require.ErrorContains(t, err, "expected 32 bytes")
}

func TestDerivedAccounts(t *testing.T) {
	t.Parallel()
	r := root(t)
	for id, tc := range map[string]struct {
		account microauth.Account
		caller  auth.Caller
	}{
		"platform/server": {
			microauth.Account{Scopes: []string{"service"}, Metadata: map[string]string{"service": "platform/server"}},
			auth.Caller{Kind: auth.Service, ID: "platform/server", Service: "platform/server"},
		},
		"service/customers/v1.2-beta": {
			microauth.Account{Scopes: []string{"service"}, Metadata: map[string]string{"service": "customers"}},
			auth.Caller{Kind: auth.Service, ID: "service/customers/v1.2-beta", Service: "customers"},
		},
		"sold/weather/latest": {
			microauth.Account{Metadata: map[string]string{"service": "weather", "sold": "true"}},
			auth.Caller{Kind: auth.Sold, ID: "sold/weather/latest", Service: "weather"},
		},
		"gateway/weather": {
			microauth.Account{Metadata: map[string]string{"gateway": "weather"}},
			auth.Caller{Kind: auth.Gateway, ID: "gateway/weather", Service: "weather"},
		},
	} {
		want := tc.account
		want.ID, want.Name, want.Type, want.Issuer = id, id, "service", "micro"
		got, err := r.Account(id, r.Secret(id))
		require.NoError(t, err)
		require.Equal(t, &want, got)
		require.Equal(t, tc.caller, auth.CallerOf(got))
		for _, wrong := range []string{"", "x", r.Secret(id) + "=", r.Secret(id)[1:], strings.ToUpper(r.Secret(id)), root(t).Secret(id)} {
			_, err := r.Account(id, wrong)
			require.Equal(t, token.ErrSecret, err)
		}
	}
}

func TestServicesDeriveTheirOwnOnly(t *testing.T) {
	t.Parallel()
	r := root(t)
	s, err := token.ParseServices(r.Services().String())
	require.NoError(t, err)
	require.NotContains(t, s.String(), "=", "an environment variable with one is not passed on")
	for _, id := range []string{"service/customers/latest", "sold/weather/v1"} {
		_, err := r.Account(id, s.Secret(id))
		require.NoError(t, err, id)
	}
	require.Empty(t, s.Secret("platform/server"))
	require.NotEqual(t, s.Secret("service/weather/v1"), s.Secret("sold/weather/v1"))
	// What the runtime knows is no secret of anybody.
	for _, id := range []string{"platform/server", "platform/services", "services", "service/customers/latest"} {
		_, err := r.Account(id, s.String())
		require.Error(t, err, id)
	}
	for _, text := range []string{"", "x", r.Services().String() + "=", r.Services().String()[1:], r.Services().String() + "AA"} {
		_, err := token.ParseServices(text)
		require.Error(t, err)
	}
}

// The API derives the secrets of the gateway of its own, and nobody else can.
func TestGatewaySecrets(t *testing.T) {
	t.Parallel()
	r := root(t)
	own := r.Secret("platform/api")
	require.Equal(t, r.Secret("gateway/weather"), token.GatewaySecret(own, "gateway/weather"))
	require.NotEqual(t, r.Secret("gateway/weather"), r.Secret("gateway/maps"))
	for _, other := range []string{"", r.Secret("platform/proxy"), r.Secret("service/api/latest"), r.Services().String()} {
		_, err := r.Account("gateway/weather", token.GatewaySecret(other, "gateway/weather"))
		require.Equal(t, token.ErrSecret, err)
	}
	for _, id := range []string{"platform/api", "service/weather/latest", "gateway/", "gateway/weather/latest", "gateway/Weather"} {
		require.Empty(t, token.GatewaySecret(own, id))
	}
	require.Empty(t, r.Services().Secret("gateway/weather"))
}

// Of a root that was never loaded, everybody could derive secrets.
func TestNoRootDerivesNothing(t *testing.T) {
	t.Parallel()
	for _, r := range []token.Root{nil, {}, token.Root("short")} {
		for _, id := range []string{"platform/server", "service/customers/latest", "gateway/weather"} {
			require.Empty(t, r.Secret(id))
			_, err := r.Account(id, "")
			require.Equal(t, token.ErrSecret, err)
		}
	}
	require.Empty(t, token.Services{}.Secret("service/customers/latest"))
}

// An id is whole: nobody gets an account by an id that says more, or less, than its form has.
func TestIDs(t *testing.T) {
	t.Parallel()
	r := root(t)
	name, version := `[a-z][a-z0-9-]{0,62}`, `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`
	form := regexp.MustCompile(`\A(?:(?:platform|gateway)/` + name + `|(?:service|sold)/` + name + `/` + version + `)\z`)
	part := rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9._-]{0,65}`),
		rapid.SampledFrom([]string{"platform", "service", "sold", "gateway", "customers", "latest", "..", "", "a/b", "a\n", "\n", "é", "a b", "%2f"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		id := strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/")
		secret := r.Secret(id)
		account, err := r.Account(id, secret)
		if !form.MatchString(id) {
			require.Empty(t, secret)
			require.Equal(t, token.ErrSecret, err)
			return
		}
		require.NoError(t, err)
		if rest, ok := strings.CutPrefix(id, "platform/"); ok {
			require.Equal(t, "platform/"+rest, account.Metadata[token.ServiceKey])
		} else if rest, ok := strings.CutPrefix(id, "gateway/"); ok {
			require.Equal(t, map[string]string{token.GatewayKey: rest}, account.Metadata)
		} else {
			require.Equal(t, strings.Split(id, "/")[1], account.Metadata[token.ServiceKey])
			require.NotContains(t, account.Metadata[token.ServiceKey], "/")
		}
	})
}

// A Secret of Kubernetes is mounted so.
func TestRootOfAReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made, err := token.LoadRoot(dir)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "keys.lock")))
	require.NoError(t, os.Chmod(dir, 0o500))
	found, err := token.LoadRoot(dir)
	require.NoError(t, err)
	require.Equal(t, made, found)
	require.NoFileExists(t, filepath.Join(dir, "keys.lock"), "it was not locked, which root could have done")
}
