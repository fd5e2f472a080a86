package edge

import (
	"testing"

	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
)

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
