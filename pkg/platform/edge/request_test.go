package edge

import (
	"net/http"
	"testing"

	"github.com/micro/micro/v3/service/context/metadata"
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
