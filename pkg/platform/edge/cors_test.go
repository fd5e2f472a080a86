package edge

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

const page = "https://app.example.com"

// corsHeadersOf returns every CORS header of an answer.
func corsHeadersOf(a reply) map[string]string {
	found := make(map[string]string)
	for _, name := range []string{
		"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age",
		"Access-Control-Expose-Headers", "Access-Control-Allow-Credentials", "Access-Control-Allow-Private-Network",
	} {
		if v := a.Header.Get(name); v != "" {
			found[name] = v
		}
	}
	return found
}

func setupCORS(t *testing.T) (*caller, http.Handler) {
	t.Helper()
	s := settings()
	s.CORS.Origins = []string{page}
	return setupWith(t, services{}, s)
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	client, h := setupCORS(t)
	preflight := func(origin string) reply {
		return do(t, h, "OPTIONS", "/customers/Create", "", "Origin", origin, "Access-Control-Request-Method", "POST")
	}
	a := preflight(page)
	require.Equal(t, 204, a.StatusCode)
	require.Equal(t, []string{"Origin"}, a.Header.Values("Vary"))
	require.Equal(t, map[string]string{
		"Access-Control-Allow-Origin": page, "Access-Control-Allow-Methods": "GET, HEAD, POST", "Access-Control-Max-Age": "600",
		"Access-Control-Allow-Headers":  "Authorization, Content-Type, X-Api-Key, Idempotency-Key",
		"Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
	}, corsHeadersOf(a))
	for _, origin := range []string{
		"https://evil.example", "http://app.example.com", page + ".evil.example", page + ":8443", "https://App.example.com", "null", "",
	} {
		a := preflight(origin)
		requireError(t, a, 403, "Origin")
		require.Empty(t, corsHeadersOf(a), origin)
		require.Equal(t, "Origin", a.Header.Get("Vary"))
	}
	require.Zero(t, client.calls)
}

func TestPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target string
		header               []string
		code                 int
		readable             bool // by the page
	}{
		{"no browser", "POST", "/customers/Create", nil, 200, false},
		{"allowed", "POST", "/customers/Create", []string{"Origin", page}, 200, true},
		{"allowed, new browser", "POST", "/customers/Create", []string{"Origin", page, "Sec-Fetch-Site", "cross-site"}, 200, true},
		{"allowed, error", "POST", "/customers/Ban", []string{"Origin", page}, 404, true},
		{"allowed, get", "GET", "/customers/Read", []string{"Origin", page}, 200, true},
		{"own", "POST", "/customers/Create", []string{"Origin", "http://localhost:8080"}, 200, false},
		{"own, behind TLS", "POST", "/customers/Create", []string{"Origin", "https://localhost:8080"}, 200, false},
		{"own, other port", "POST", "/customers/Create", []string{"Origin", "http://localhost:3000"}, 403, false},
		{"form of another", "POST", "/customers/Create", []string{"Origin", "https://evil.example", "Content-Type", "application/x-www-form-urlencoded"}, 403, false},
		{"form without origin", "POST", "/customers/Create", []string{"Sec-Fetch-Site", "cross-site"}, 403, false},
		{"same site is not the same origin", "POST", "/customers/Create", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://a.localhost"}, 403, false},
		{"sandbox", "POST", "/customers/Create", []string{"Origin", "null"}, 403, false},
		{"other method", "DELETE", "/customers/Create", []string{"Origin", "https://evil.example"}, 403, false},
		{"get of another", "GET", "/customers/Read", []string{"Origin", "https://evil.example"}, 200, false},
		{"get that would change something", "GET", "/customers/Create", []string{"Origin", "https://evil.example"}, 405, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, h := setupCORS(t)
			a := do(t, h, c.method, c.target, "", c.header...)
			require.Equal(t, c.code, a.StatusCode)
			require.Equal(t, c.code == 200, client.calls == 1)
			require.Equal(t, []string{"Origin"}, a.Header.Values("Vary"))
			got := corsHeadersOf(a)
			if !c.readable {
				require.Empty(t, got)
				return
			}
			require.Equal(t, map[string]string{
				"Access-Control-Allow-Origin": page, "Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
			}, got)
		})
	}
}
