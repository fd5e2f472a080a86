package acceptance

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/client"
)

// door is an auth service and what a test needs to knock at it: Micro's own, or ours.
type door struct {
	rpc *client.RPC
	// admin is the operator's password.
	admin string
	// service returns a token of a service that no policy names.
	service func(t *testing.T) string
}

func (d door) auth(token string) pb.AuthService { return pb.NewAuthService("auth", d.rpc.As(token)) }
func (d door) accounts(token string) pb.AccountsService {
	return pb.NewAccountsService("auth", d.rpc.As(token))
}

// login returns what somebody gets for a password; nil where it is refused.
func (d door) login(t *testing.T, id, secret string) *pb.Token {
	t.Helper()
	rsp, err := d.auth("").Token(t.Context(), &pb.TokenRequest{Id: id, Secret: secret, TokenExpiry: 300})
	if err != nil {
		return nil
	}
	return rsp.Token
}

func (d door) refreshes(t *testing.T, refreshToken string) bool {
	t.Helper()
	_, err := d.auth("").Token(t.Context(), &pb.TokenRequest{RefreshToken: refreshToken, TokenExpiry: 300})
	return err == nil
}

// somebody makes an account and logs it in.
func (d door) somebody(t *testing.T, id string) (admin string, issued *pb.Token) {
	t.Helper()
	operator := d.login(t, "admin", d.admin)
	require.NotNil(t, operator)
	_, err := d.auth(operator.AccessToken).Generate(t.Context(), &pb.GenerateRequest{Id: id, Type: "customer", Secret: "correct horse", Options: inNamespace})
	require.NoError(t, err)
	issued = d.login(t, id, "correct horse")
	require.NotNil(t, issued)
	return operator.AccessToken, issued
}

// inNamespace is where Micro looks for accounts, and where it does not put them by itself.
var inNamespace = &pb.Options{Namespace: "micro"}

// holes are what stock Micro leaves open. Each tells whether it is.
var holes = map[string]func(t *testing.T, d door) bool{
	"everybody knows the login": func(t *testing.T, d door) bool { return d.login(t, "admin", "micro") != nil },
	"an access token refreshes": func(t *testing.T, d door) bool {
		_, issued := d.somebody(t, "exchange")
		return d.refreshes(t, issued.AccessToken)
	},
	"a refresh token is an access token": func(t *testing.T, d door) bool {
		issued := d.login(t, "admin", d.admin)
		// Micro's answer to a refresh with an access token has it in both places.
		rsp, err := d.auth("").Token(t.Context(), &pb.TokenRequest{RefreshToken: issued.AccessToken, TokenExpiry: 300})
		if err != nil {
			rsp = &pb.TokenResponse{Token: issued}
		}
		_, err = d.accounts(rsp.Token.RefreshToken).List(t.Context(), &pb.ListAccountsRequest{})
		return err == nil
	},
	"a client says how long a token lives": func(t *testing.T, d door) bool {
		rsp, err := d.auth("").Token(t.Context(), &pb.TokenRequest{Id: "admin", Secret: d.admin, TokenExpiry: 365 * 24 * 3600})
		require.NoError(t, err)
		return time.Until(time.Unix(rsp.Token.Expiry, 0)) > 5*time.Minute+time.Second
	},
	"a deleted account refreshes": func(t *testing.T, d door) bool {
		admin, issued := d.somebody(t, "deleted")
		_, err := d.accounts(admin).Delete(t.Context(), &pb.DeleteAccountRequest{Id: "deleted"})
		require.NoError(t, err)
		return d.refreshes(t, issued.RefreshToken) || d.refreshes(t, issued.AccessToken)
	},
	"a refresh token outlives the password": func(t *testing.T, d door) bool {
		admin, issued := d.somebody(t, "changed")
		_, err := d.accounts(admin).ChangeSecret(t.Context(), &pb.ChangeSecretRequest{
			Id: "changed", OldSecret: "correct horse", NewSecret: "battery staple",
		})
		require.NoError(t, err)
		return d.refreshes(t, issued.RefreshToken)
	},
	"a refresh token is good twice": func(t *testing.T, d door) bool {
		_, issued := d.somebody(t, "twice")
		rsp, err := d.auth("").Token(t.Context(), &pb.TokenRequest{RefreshToken: issued.RefreshToken})
		require.NoError(t, err)
		return rsp.Token.RefreshToken == issued.RefreshToken
	},
	"a password can be guessed for ever": func(t *testing.T, d door) bool {
		d.somebody(t, "guessed")
		for range 15 {
			require.Nil(t, d.login(t, "guessed", "wrong password"))
		}
		return d.login(t, "guessed", "correct horse") != nil
	},
	"any service makes itself admin": func(t *testing.T, d door) bool {
		_, err := d.auth(d.service(t)).Generate(t.Context(), &pb.GenerateRequest{
			Id: "root", Type: "user", Scopes: []string{"admin"}, Secret: "correct horse", Options: inNamespace,
		})
		return err == nil
	},
	"any service changes the admin's password": func(t *testing.T, d door) bool {
		_, err := d.accounts(d.service(t)).ChangeSecret(t.Context(), &pb.ChangeSecretRequest{Id: "admin", NewSecret: d.admin})
		return err == nil
	},
	"everybody reads the log": func(t *testing.T, d door) bool {
		_, err := d.rpc.JSON(t.Context(), "auth", "Debug.Log", "{}")
		return err == nil
	},
	"a number where a text belongs breaks the handler": func(t *testing.T, d door) bool {
		_, err := d.rpc.JSON(t.Context(), "auth", "Auth.Token", `{"id": 5}`)
		return codeOf(err) >= http.StatusInternalServerError
	},
}

// Each hole is open in stock Micro and closed here.
func TestHolesOfStockMicro(t *testing.T) {
	t.Parallel()
	stock, ours := stockAuth(t), boot(t)
	password, err := os.ReadFile(filepath.Join(ours.State, "admin_password"))
	require.NoError(t, err)
	here := door{rpc: ours.RPC(""), admin: strings.TrimSpace(string(password)), service: func(t *testing.T) string {
		return ours.as(t, callers(pair{})["other service"]).Token
	}}
	for name, open := range holes {
		t.Run(name, func(t *testing.T) {
			require.True(t, open(t, stock), "stock Micro")
			require.False(t, open(t, here), "here")
		})
	}
}

// stockAuth starts Micro's own auth service.
func stockAuth(t *testing.T) door {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "stock")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./stock")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	cmd := exec.Command(binary, t.TempDir(), address, "auth")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log client.Output
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stock Micro:\n%s", log.String())
		}
		_ = cmd.Process.Kill() // it has served its purpose
		_ = cmd.Wait()
	})
	d := door{rpc: (&client.Client{Proxy: address}).RPC(""), admin: "micro"}
	require.Eventually(t, func() bool { return d.login(t, "admin", "micro") != nil }, time.Minute, 20*time.Millisecond)
	d.service = func(t *testing.T) string {
		t.Helper()
		account := &auth.Account{ID: "anything", Type: "service", Scopes: []string{"service"}}
		_, _ = d.auth(d.login(t, "admin", "micro").AccessToken).Generate(t.Context(), &pb.GenerateRequest{ // or it is there already
			Id: account.ID, Type: account.Type, Scopes: account.Scopes, Secret: "correct horse", Options: inNamespace,
		})
		return d.login(t, account.ID, "correct horse").AccessToken
	}
	return d
}
