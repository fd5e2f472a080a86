package acceptance

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// The HTTP API takes its settings from the configuration, and wrong ones can be mended.
func TestAPIConfiguration(t *testing.T) {
	t.Parallel()
	const page = "https://app.example.com"
	p := boot(t)
	set := func(key, value string) {
		out, err := p.Run(t.Context(), "config", "set", "micro.api."+key, value)
		require.NoError(t, err, out)
	}
	set("cors.origins", `["`+page+`"]`)
	set("hosts", `["api.example.com"]`)
	set("max_body_bytes", "0")
	require.Zero(t, p.stop(t))

	p.launch(t)
	require.True(t, p.says(t, "micro.api.max_body_bytes: expected a number from 1 to "), p.out.String())
	set("max_body_bytes", "50")
	require.True(t, p.says(t, ready), p.out.String())

	for _, c := range []struct {
		host, origin string
		code         int
	}{
		{"api.example.com", page, 404},
		{"localhost", "", 404},
		{"other.example.com", "", 421},
		{"localhost", "https://other.example.com", 403},
	} {
		r, err := http.NewRequest(http.MethodPost, p.API+"/nobody/Create", nil)
		require.NoError(t, err)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		a, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, a.Body.Close())
		require.Equal(t, c.code, a.StatusCode, "%+v", c)
		require.Equal(t, c.origin == page, a.Header.Get("Access-Control-Allow-Origin") == page)
	}
}

// GET calls what changes nothing, and only that.
func TestGet(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers", "mixpanel")
	a, err := p.Do(t.Context(), http.MethodGet, "/mixpanel/Ping", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
	a, err = p.Do(t.Context(), http.MethodGet, "/customers/Read", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, a.Code, "%s", a.Body)
	a, err = p.Do(t.Context(), http.MethodGet, "/customers/Delete", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusMethodNotAllowed, a.Code, "%s", a.Body)
}
