package acceptance

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/auth/token"
)

// read reads the customer whose token it is, over HTTP.
func read(t *testing.T, c *client.Client) int {
	t.Helper()
	a, err := c.Post(t.Context(), "/customers/Read", "{}")
	require.NoError(t, err)
	return a.Code
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	jane := client.Customer(p.customer(t, "jane@example.com"))
	before := p.as(t, jane)
	_, first := p.signingKey(t)
	out, err := p.Run(t.Context(), "auth", "rotate")
	require.NoError(t, err, out)
	_, second := p.signingKey(t)
	require.NotEqual(t, first, second)
	require.Equal(t, http.StatusOK, read(t, before), "the former key's tokens are good")
	require.Equal(t, http.StatusOK, read(t, p.as(t, jane)), "and the new one's at once")
	p.refreshToken(t) // the auth service signs on, and is understood
	_, err = p.Call(t.Context(), "customers", "Customers.List", "{}")
	require.NoError(t, err)
}

// A token that nobody has seen yet is good while the auth service hangs, and so is every service that runs.
func TestAuthServiceIsAway(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	jane := client.Customer(p.customer(t, "jane@example.com"))
	pid := p.core(t, "auth")
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it has ended by then, or goes on
	for range 20 {
		require.Equal(t, http.StatusOK, read(t, p.as(t, jane)))
	}
	require.Equal(t, http.StatusUnauthorized, read(t, p.As("forged")))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Equal(t, http.StatusOK, read(t, p.as(t, jane)))
	require.Eventually(t, func() bool {
		a, err := p.Post(t.Context(), "/auth/Token", `{"id": "nobody", "secret": "correct horse"}`)
		return err == nil && a.Code == http.StatusUnauthorized
	}, time.Minute, 20*time.Millisecond, "it is back")
}

// A service that is sold runs, is found and answers, and its own credentials open nothing.
func TestSoldService(t *testing.T) {
	t.Parallel()
	p := boot(t)
	out, err := p.Run(t.Context(), "run", "--sold", filepath.Join(repository, "pkg/acceptance/weather"))
	require.NoError(t, err, out)
	require.Eventually(t, func() bool {
		_, err := p.RPC("").JSON(t.Context(), "weather", "Debug.Health", "{}")
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "it answers")
	// Nobody calls it unmetered, whoever they are: over HTTP it does not exist, and it does not get to know who calls.
	for _, account := range []*auth.Account{client.Admin, client.Customer("0190f8b0-0000-7000-8000-00000000000a"), token.GatewayAccount("weather")} {
		caller := p.as(t, account)
		a, err := caller.Post(t.Context(), "/weather/Now", `{"place": "Oslo"}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, a.Code, "%s", a.Body)
		_, err = p.RPC(caller.Token).JSON(t.Context(), "weather", "Weather.Now", `{"place": "Oslo"}`)
		require.Equal(t, http.StatusUnauthorized, codeOf(err), "%s", account.ID)
	}

	id, secret := credentials(t, p, "weather")
	require.Equal(t, "sold/weather/latest", id)
	a, err := p.Post(t.Context(), "/auth/Token", `{"id": "`+id+`", "secret": "`+secret+`"}`)
	require.NoError(t, err)
	issued, _ := a.Fields()["token"].(map[string]any)
	access, _ := issued["access_token"].(string)
	require.NotEmpty(t, access, "%s", a.Body)
	rpc := p.RPC(access)
	for service, body := range map[string][2]string{
		"config": {"Config.Get", `{"path": "micro.weather"}`}, "store": {"Store.Read", `{"key": "x"}`},
		"auth": {"Auth.Generate", `{"id": "root", "scopes": ["admin"]}`}, "events": {"Stream.Publish", `{"topic": "customers"}`},
		"runtime": {"Runtime.Read", `{}`},
	} {
		_, err := rpc.JSON(t.Context(), service, body[0], body[1])
		require.Equal(t, http.StatusForbidden, codeOf(err), "%s %s", service, body[0])
	}

	// It stays what it is, whatever is done to it but a new start from nothing.
	out, err = p.Run(t.Context(), "update", filepath.Join(repository, "pkg/acceptance/weather"))
	require.NoError(t, err, out)
	id, _ = credentials(t, p, "weather")
	require.Equal(t, "sold/weather/latest", id)
	out, err = p.Run(t.Context(), "run", filepath.Join(repository, "pkg/acceptance/weather"))
	require.Error(t, err)
	require.Contains(t, out, "kill it first")
	out, err = p.Run(t.Context(), "kill", "weather")
	require.NoError(t, err, out)
	out, err = p.Run(t.Context(), "run", filepath.Join(repository, "pkg/acceptance/weather"))
	require.NoError(t, err, out)
	id, _ = credentials(t, p, "weather")
	require.Equal(t, "service/weather/latest", id)
}

// credentials are what the one service that runs has been given, as its environment says. It has no other secret of the
// platform in it.
func credentials(t *testing.T, p *platform, name string) (id, secret string) {
	t.Helper()
	found := p.binaries()
	require.Len(t, found, 1, name)
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(found[0].pid), "environ"))
	require.NoError(t, err)
	for variable := range strings.SplitSeq(string(b), "\x00") {
		key, value, _ := strings.Cut(variable, "=")
		switch key {
		case "MICRO_AUTH_ID":
			id = value
		case "MICRO_AUTH_SECRET":
			secret = value
		case "MICRO_CONFIG_SECRET_KEY", "MICRO_AUTH_PRIVATE_KEY", "MICRO_RUNTIME_CREDENTIALS":
			require.Empty(t, value, key)
		}
	}
	return id, secret
}
