package edge

import (
	"net/http"
	"testing"

	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
)

// What a caller says of itself beside its token does not reach a service, however it is written.
func TestOnlyTheCallersTokenTravels(t *testing.T) {
	t.Parallel()
	forged := []string{
		"Micro-Namespace", "other", "micro-id", "forged", "Micro-From-Service", "billing", "Timeout", "1", "X-Request-Id", "forged",
		"X-Forwarded-For", "10.0.0.1", "X-Forwarded-For", "10.0.0.2", "x-real-ip", "10.0.0.1", "Forwarded", "for=10.0.0.1", "Cookie", "micro-token=x",
		"Grpc-Timeout", "1n", "X-Api-Key", "k",
	}
	for name, token := range map[string]string{"token": "Bearer x", "no token": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, h := setup(t, services{})
			header := forged
			want := metadata.Metadata{"Micro-Namespace": "micro", "X-Forwarded-For": "192.0.2.1"}
			if token != "" {
				header = append([]string{"authorization", token}, forged...)
				want["Authorization"] = token
			}
			a := do(t, h, "POST", "/customers/Create", "{}", header...)
			require.Equal(t, 200, a.StatusCode)
			want["X-Request-Id"] = a.Header.Get("X-Request-Id")
			require.Len(t, want["X-Request-Id"], 26)
			require.Equal(t, want, client.metadata)
			require.NotEqual(t, want["X-Request-Id"], do(t, h, "POST", "/customers/Create", "{}").Header.Get("X-Request-Id"))
		})
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[fe80::1%eth0]:1": "fe80::1", "@": "",
	} {
		require.Equal(t, want, peer(&http.Request{RemoteAddr: remote}), remote)
	}
}

// Whatever is answered, it is JSON that browsers neither guess at, nor keep, nor show in a frame.
func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	client.err = errors.Unauthorized("customers.Customers.Create", "who are you")
	for _, a := range []reply{
		do(t, h, "GET", "/", ""), do(t, h, "POST", "/customers/Create", "{}"), do(t, h, "POST", "/nobody/Create", "{}"),
		do(t, h, "POST", "/customers/Create", "{}", "Host", "evil.example"), do(t, h, "POST", "/customers/Create", "{}", "Origin", "https://evil.example"),
		do(t, h, "DELETE", "/customers/Create", ""),
	} {
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(t, "default-src 'none'; frame-ancestors 'none'", a.Header.Get("Content-Security-Policy"))
		require.Equal(t, "no-referrer", a.Header.Get("Referrer-Policy"))
		require.NotEmpty(t, a.Header.Get("X-Request-Id"))
	}
}

func TestUnauthorizedSaysWhatIsWanted(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	client.err = errors.Unauthorized("customers.Customers.Create", "who are you")
	a := do(t, h, "POST", "/customers/Create", "{}", "Cookie", "micro-token=x")
	require.Equal(t, 401, a.StatusCode)
	require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"))
	require.JSONEq(t, `{"id":"customers.Customers.Create","code":401,"detail":"who are you","status":"Unauthorized"}`, a.body)
}

func TestRefusedMethodsNameTheOthers(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	require.Equal(t, "POST", do(t, h, "GET", "/customers/Create", "").Header.Get("Allow"))
	require.Equal(t, "POST", do(t, h, "HEAD", "/customers/Create", "").Header.Get("Allow"))
	require.Equal(t, "GET, HEAD, POST", do(t, h, "PUT", "/customers/Read", "{}").Header.Get("Allow"))
}

func TestHeadHasNoBody(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	a := do(t, h, "HEAD", "/customers/Read?id=5", "")
	require.Empty(t, a.body)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "11", a.Header.Get("Content-Length"))
	require.Equal(t, 1, client.calls)
}
