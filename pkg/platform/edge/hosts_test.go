package edge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	local := netip.MustParseAddr("192.0.2.7")
	hosts := []string{"api.example.com", "2001:db8::1"}
	for header, known := range map[string]bool{
		"localhost": true, "LOCALHOST:8080": true, "localhost.": true, "127.0.0.1": true, "127.8.8.8:1": true, "[::1]": true, "[::1]:8080": true,
		"192.0.2.7": true, "192.0.2.7:8080": true, "[::ffff:192.0.2.7]": false, "192.0.2.8": false,
		"api.example.com": true, "API.example.com:443": true, "api.example.com.": true, "[2001:db8::1]:443": true, "2001:db8::1": false,
		"": false, ":": false, ":8080": false, "evil.example": false, "api.example.com.evil.example": false, "xapi.example.com": false,
		"localhost.evil.example": false, "127.0.0.1.evil.example": false, "localhost:": false, "localhost:0": false, "localhost:x": false,
		"localhost:65536": false, "user@localhost": false, "localhost/x": false, "localhost,evil.example": false, "[localhost]": false,
		"[::1": false, "::1": false, "[::1%lo]": false, "127.1": false, "0": false, "2130706433": false, "0x7f.1": false, "..": false, "localhost..": false,
		"[127.0.0.1]": false, "0.0.0.0": false,
	} {
		require.Equal(t, known, isKnownHost(header, hosts, local), "%q", header)
	}
	require.False(t, isKnownHost("0.0.0.0", nil, netip.Addr{}))
}

// A name that is made to point here after a page was loaded is refused, for a GET too.
func TestOtherHostsAreRefused(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Hosts = []string{"api.example.com"}
	client, h := setupWith(t, services{}, s)
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		requireError(t, do(t, h, method, "/customers/Read", "", "Host", "rebound.example"), 421, "no name of the API")
	}
	requireError(t, do(t, h, "GET", "/", "", "Host", "rebound.example"), 421, "no name of the API")
	require.Zero(t, client.calls)
	require.Equal(t, 200, do(t, h, "POST", "/customers/Read", "", "Host", "api.example.com").StatusCode)
}

func FuzzHost(f *testing.F) {
	for _, header := range []string{"localhost", "[::1]:80", "127.0.0.1:1", "api.example.com.", "a:b:c", "[", "]", "[]:1", "\x00", "::1", "1.2.3.4."} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		host, ok := hostOf(header)
		if ok {
			require.True(t, isHost(host), "%q", host)
			again, ok := hostOf(bracketed(host))
			require.True(t, ok)
			require.Equal(t, host, again, "it is the shortest form of itself")
		}
		if !isKnownHost(header, nil, netip.Addr{}) {
			return
		}
		require.True(t, ok)
		ip, err := netip.ParseAddr(host)
		require.True(t, host == "localhost" || err == nil && ip.IsLoopback(), "%q", header)
		require.True(t, strings.HasPrefix(strings.Trim(strings.ToLower(header), "["), host), "%q", header)
	})
}
