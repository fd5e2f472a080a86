package edge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	origin := func(origins ...string) func(*Settings) { return func(s *Settings) { s.CORS.Origins = origins } }
	host := func(hosts ...string) func(*Settings) { return func(s *Settings) { s.Hosts = hosts } }
	const good = "https://app.example.com"
	for _, c := range []struct {
		name   string
		change func(*Settings)
		wrong  string // how the error begins; empty if there is none
	}{
		{"default", func(*Settings) {}, ""},
		{"origins", origin(good, "http://localhost:3000", "https://xn--bcher-kva.example", "http://[::1]:3000", "http://127.0.0.1:3000"), ""},
		{"any", origin("*"), "cors.origins[0]: expected origins one by one, not *"},
		{"any sub-domain", origin(good, "https://*.example.com"), "cors.origins[1]: expected origins one by one, not *"},
		{"null", origin("null"), "cors.origins[0]: expected an origin as browsers write it"},
		{"empty", origin(""), "cors.origins[0]: expected an origin"},
		{"path", origin(good + "/"), "cors.origins[0]: expected an origin"},
		{"query", origin(good + "?x"), "cors.origins[0]: expected an origin"},
		{"user", origin("https://user@app.example.com"), "cors.origins[0]: expected an origin"},
		{"no scheme", origin("app.example.com"), "cors.origins[0]: expected an origin"},
		{"other scheme", origin("file://app.example.com"), "cors.origins[0]: expected an origin"},
		{"capitals", origin("https://App.example.com"), "cors.origins[0]: expected an origin"},
		{"usual port", origin(good + ":443"), "cors.origins[0]: expected an origin"},
		{"empty port", origin(good + ":"), "cors.origins[0]: expected an origin"},
		{"odd port", origin(good + ":08443"), "cors.origins[0]: expected an origin"},
		{"no port", origin(good + ":70000"), "cors.origins[0]: expected an origin"},
		{"too many origins", origin(make([]string, maxListed+1)...), "cors.origins: expected at most 100 origins"},
		{"hosts", host("api.example.com", "intranet", "192.0.2.1", "2001:db8::1"), ""},
		{"host with port", host("api.example.com:443"), "hosts[0]: expected the name"},
		{"host with scheme", host("https://api.example.com"), "hosts[0]: expected the name"},
		{"any host", host("*"), "hosts[0]: expected the name"},
		{"host in capitals", host("intranet", "API.example.com"), "hosts[1]: expected the name"},
		{"brackets", host("[2001:db8::1]"), "hosts[0]: expected the name"},
		{"long host", host(strings.Repeat("x.", 130) + "x"), "hosts[0]: expected the name"},
		{"too many hosts", host(make([]string, maxListed+1)...), "hosts: expected at most 100 hosts"},
		{"no body", func(s *Settings) { s.MaxBodyBytes = 0 }, "max_body_bytes: expected a number from 1 to 33554432"},
		{"large body", func(s *Settings) { s.MaxBodyBytes = maxBody + 1 }, "max_body_bytes: expected a number from 1 to 33554432"},
		{"no time", func(s *Settings) { s.TimeoutSeconds = 0 }, "timeout_seconds: expected a number from 1 to 300"},
		{"long time", func(s *Settings) { s.TimeoutSeconds = 301 }, "timeout_seconds: expected a number from 1 to 300"},
		{"no connection", func(s *Settings) { s.MaxConnections = 0 }, "max_connections: expected a number from 1 to 65536"},
		{"small journal", func(s *Settings) { s.Gateway.JournalBytes = 1 << 20 }, "gateway.journal_bytes: expected a number from 16777216 to 68719476736"},
		{"large journal", func(s *Settings) { s.Gateway.JournalBytes = 1 << 40 }, "gateway.journal_bytes: expected a number from"},
		{"many connections", func(s *Settings) { s.MaxConnections = 65537 }, "max_connections: expected a number from 1 to 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := DefaultSettings()
			c.change(&s)
			err := s.Validate()
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), c.wrong), err.Error())
			_, err = New(Config{Client: &caller{}, Services: services{}, Settings: s})
			require.Error(t, err, "no handler is made of it")
		})
	}
}

func FuzzOrigin(f *testing.F) {
	for _, origin := range []string{
		"https://app.example.com", "http://localhost:3000", "http://[::1]", "https://a:443", "null", "*", "https://a/", "https://A", "https://a@b",
		"https://a:0", "https://[fe80::1%25eth0]", "https://a\x00", "https://ä.example",
	} {
		f.Add(origin)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		if checkOrigin(origin) != nil {
			return
		}
		u, err := url.Parse(origin)
		require.NoError(t, err)
		require.Contains(t, []string{"http", "https"}, u.Scheme)
		require.Equal(t, strings.ToLower(origin), origin)
		require.Equal(t, u.Scheme+"://"+u.Host, origin, "nothing but scheme, host and port")
		_, ok := hostOf(u.Host)
		require.True(t, ok, "what may be an origin may be a host")
		require.NoError(t, http.NewCrossOriginProtection().AddTrustedOrigin(origin))
		m, err := crossOrigin([]string{origin})
		require.NoError(t, err)
		h := m(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		require.Equal(t, origin, do(t, h, "POST", "/", "", "Origin", origin).Header.Get("Access-Control-Allow-Origin"))
		for _, other := range []string{origin + ".example", origin + ":1", strings.ToUpper(origin), "null"} {
			require.Equal(t, 403, do(t, h, "POST", "/", "", "Origin", other).StatusCode, other)
		}
	})
}
