package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
)

// password is that of every member.
const password = "correct horse"

// activate makes a customer active, as a signup that was completed does.
func (p *platform) activate(t *testing.T, id string) {
	t.Helper()
	rpc := customers.NewCustomersService("customers", p.admin(t))
	_, err := rpc.MarkVerified(t.Context(), &customers.MarkVerifiedRequest{Id: id})
	require.NoError(t, err)
	_, err = rpc.Activate(t.Context(), &customers.ActivateRequest{Id: id})
	require.NoError(t, err)
}

// member makes an active customer with an account, who can log in.
func (p *platform) member(t *testing.T, email string) string {
	t.Helper()
	id := p.customer(t, email)
	_, err := p.admin(t).JSON(t.Context(), "auth", "Auth.Generate", fmt.Sprintf(`{"id": %q, "type": "customer", "secret": %q}`, id, password))
	require.NoError(t, err)
	p.activate(t, id)
	return id
}

// members makes those that the table of valid requests is about, and puts into a request what is theirs.
func (p *platform) members(t *testing.T, id string) *strings.Replacer {
	t.Helper()
	p.activate(t, id)
	p.member(t, "member@example.com")
	p.customer(t, "proven@example.com")
	p.customer(t, "barred@example.com")
	var made [4]*customers.GenerateKeyResponse
	for i := range made {
		var err error
		made[i], err = customers.NewKeysService("customers", p.admin(t)).GenerateKey(t.Context(), &customers.GenerateKeyRequest{CustomerId: id})
		require.NoError(t, err)
	}
	return strings.NewReplacer("{customer}", id, "{key to revoke}", made[0].ApiKeyId, "{key to rotate}", made[1].ApiKeyId,
		"{key to block}", made[2].ApiKeyId, "{key}", made[3].ApiKey)
}

// loggedIn is what a log-in gives.
type loggedIn struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// logIn calls Login with a body over HTTP.
func logIn(t *testing.T, c *client.Client, body string) (code int, got loggedIn, answer string) {
	t.Helper()
	a, err := c.As("").Post(t.Context(), "/customers/Login", body)
	require.NoError(t, err)
	var rsp struct{ Token loggedIn }
	if a.Code == http.StatusOK {
		require.NoError(t, json.Unmarshal(a.Body, &rsp))
		require.NotEmpty(t, rsp.Token.Access)
		require.NotEmpty(t, rsp.Token.Refresh)
	}
	return a.Code, rsp.Token, string(a.Body)
}

func byPassword(email, password string) string {
	return fmt.Sprintf(`{"email": %q, "password": %q}`, email, password)
}

func byRefresh(token string) string { return fmt.Sprintf(`{"refresh_token": %q}`, token) }

// A customer logs in, goes on, and logs out; what a ban takes away it gives back, but for the sessions.
func TestLoginAndBan(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	id := p.member(t, "jane@example.com")
	rpc := customers.NewCustomersService("customers", p.admin(t))
	keys := customers.NewKeysService("customers", p.admin(t))

	code, first, answer := logIn(t, p.Client, byPassword("JANE@example.com", password))
	require.Equal(t, http.StatusOK, code, answer)
	require.Equal(t, http.StatusOK, read(t, p.As(first.Access)), "it is jane's")
	code, second, answer := logIn(t, p.Client, byRefresh(first.Refresh))
	require.Equal(t, http.StatusOK, code, answer)
	a, err := p.As(second.Access).Post(t.Context(), "/customers/Logout", "{}")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
	code, _, answer = logIn(t, p.Client, byRefresh(second.Refresh))
	require.Equal(t, http.StatusUnauthorized, code, answer)

	code, third, _ := logIn(t, p.Client, byPassword("jane@example.com", password))
	require.Equal(t, http.StatusOK, code)
	key, err := p.As(third.Access).Post(t.Context(), "/customers/Keys/GenerateKey", "{}")
	require.NoError(t, err)
	text, _ := key.Fields()["api_key"].(string)
	verified, err := keys.VerifyKey(t.Context(), &customers.VerifyKeyRequest{ApiKey: text})
	require.NoError(t, err)
	require.Equal(t, id, verified.CustomerId)

	_, err = rpc.Ban(t.Context(), &customers.BanRequest{Id: id, Reason: "spam"})
	require.NoError(t, err)
	for _, body := range []string{byPassword("jane@example.com", password), byRefresh(third.Refresh)} {
		code, _, answer = logIn(t, p.Client, body)
		require.Equal(t, http.StatusUnauthorized, code, answer)
		require.NotContains(t, answer, "ban")
	}
	_, err = keys.VerifyKey(t.Context(), &customers.VerifyKeyRequest{ApiKey: text})
	require.Equal(t, http.StatusForbidden, codeOf(err))
	// Not even at the auth service itself, which anybody can call.
	direct, err := p.As("").Post(t.Context(), "/auth/Token", fmt.Sprintf(`{"id": %q, "secret": %q}`, id, password))
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, direct.Code, "%s", direct.Body)

	_, err = rpc.Unban(t.Context(), &customers.UnbanRequest{Id: id})
	require.NoError(t, err)
	_, err = keys.VerifyKey(t.Context(), &customers.VerifyKeyRequest{ApiKey: text})
	require.NoError(t, err)
	code, _, answer = logIn(t, p.Client, byRefresh(third.Refresh))
	require.Equal(t, http.StatusUnauthorized, code, answer)
	code, _, answer = logIn(t, p.Client, byPassword("jane@example.com", password))
	require.Equal(t, http.StatusOK, code, answer)
}

// A customer sees their own log-ins, and ends one of them; nobody ends another's, even who knows its id.
func TestSessions(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	p.member(t, "jane@example.com")
	p.member(t, "joe@example.com")
	rpc := func(token string) customers.CustomersService {
		return customers.NewCustomersService("customers", p.RPC(token))
	}
	list := func(token string) []*customers.Session {
		rsp, err := rpc(token).ListSessions(t.Context(), &customers.ListSessionsRequest{})
		require.NoError(t, err)
		return rsp.Sessions
	}
	_, kept, _ := logIn(t, p.Client, byPassword("jane@example.com", password))
	first := list(kept.Access)[0].Id
	_, lost, _ := logIn(t, p.Client, byPassword("jane@example.com", password))
	_, joes, _ := logIn(t, p.Client, byPassword("joe@example.com", password))
	require.Len(t, list(kept.Access), 2)
	require.Len(t, list(joes.Access), 1)
	known := list(lost.Access)[0].Id
	if known == first {
		known = list(lost.Access)[1].Id
	}
	_, err := rpc(joes.Access).RevokeSession(t.Context(), &customers.RevokeSessionRequest{Id: known})
	require.NoError(t, err)
	require.Len(t, list(kept.Access), 2, "it is not joe's")
	_, err = rpc(kept.Access).RevokeSession(t.Context(), &customers.RevokeSessionRequest{Id: known})
	require.NoError(t, err)
	require.Len(t, list(kept.Access), 1)
	code, _, answer := logIn(t, p.Client, byRefresh(lost.Refresh))
	require.Equal(t, http.StatusUnauthorized, code, answer)
	code, _, answer = logIn(t, p.Client, byRefresh(kept.Refresh))
	require.Equal(t, http.StatusOK, code, answer)
}

// Nobody learns from Login who is a customer: neither at the first attempt nor when there were too many, which are counted
// by the address of the caller's own as well, through the services in between.
func TestLoginTellsNothing(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	p.member(t, "jane@example.com")
	p.customer(t, "verified@example.com")
	attempts := func(c *client.Client, email string) (codes []int, answers []string) {
		for range 11 {
			code, _, answer := logIn(t, c, byPassword(email, "wrong password"))
			codes = append(codes, code)
			answers = append(answers, answer)
		}
		return codes, answers
	}
	known, refusal := attempts(p.Client, "jane@example.com")
	require.Equal(t, http.StatusUnauthorized, known[0])
	require.Equal(t, http.StatusTooManyRequests, known[10], refusal[10])
	require.Contains(t, refusal[10], "try again in")
	code, _, _ := logIn(t, p.Client, byPassword("jane@example.com", password))
	require.Equal(t, http.StatusTooManyRequests, code, "the right one is not even looked at")
	for _, email := range []string{"nobody@example.com", "verified@example.com"} {
		codes, answers := attempts(p.Client, email)
		require.Equal(t, known, codes)
		require.Equal(t, refusal[0], answers[0])
	}

	// 30 have failed so far. When there are 50, nobody is let in from this address, and everybody is from another one.
	p.member(t, "joe@example.com")
	last := 0
	for i := 0; last != http.StatusTooManyRequests; i++ {
		require.Less(t, i, 100, "attempts are not counted by the caller's address")
		last, _, _ = logIn(t, p.Client, byPassword(fmt.Sprintf("nobody%d@example.com", i), "wrong password"))
	}
	code, _, _ = logIn(t, p.Client, byPassword("joe@example.com", password))
	require.Equal(t, http.StatusTooManyRequests, code)
	code, _, answer := logIn(t, p.from(t, "127.0.0.2"), byPassword("joe@example.com", password))
	require.Equal(t, http.StatusOK, code, answer)
}

// A ban counts while the auth service is away, and reaches it when it is back, without anybody calling again.
func TestBanWhileAuthIsAway(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	id := p.member(t, "jane@example.com")
	code, tokens, _ := logIn(t, p.Client, byPassword("jane@example.com", password))
	require.Equal(t, http.StatusOK, code)
	rpc := customers.NewCustomersService("customers", p.admin(t))
	pid := p.core(t, "auth")
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it has ended by then, or goes on
	_, err := rpc.Ban(t.Context(), &customers.BanRequest{Id: id})
	require.Equal(t, http.StatusServiceUnavailable, codeOf(err), "%v", err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	refreshed := func() int {
		a, err := p.As("").Post(t.Context(), "/auth/Token", byRefresh(tokens.Refresh))
		require.NoError(t, err)
		if fresh, ok := a.Fields()["token"].(map[string]any); ok {
			tokens.Refresh, _ = fresh["refresh_token"].(string)
		}
		return a.Code
	}
	require.Eventually(t, func() bool { return refreshed() == http.StatusBadRequest }, time.Minute, 500*time.Millisecond, "the session ends by itself")
}

// from returns a client that calls from another address of this machine.
func (p *platform) from(t *testing.T, address string) *client.Client {
	t.Helper()
	other := *p.Client
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	other.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, to)
	}}}
	return &other
}
