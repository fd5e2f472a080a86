package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/micro/micro/v3/client/cli/token"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
)

// anonymous are the commands that call nothing, or that are about logging in.
var anonymous = map[string]bool{
	"": true, "env": true, "help": true, "h": true, "login": true, "logout": true, "new": true, "shutdown": true,
	"server": true, "service": true, "user": true,
}

// withLogin logs the command line in where nobody has: whoever can read the state directory owns the
// platform, and has no use for a prompt.
func withLogin(before cli.BeforeFunc) cli.BeforeFunc {
	return func(ctx *cli.Context) error {
		if isApart[ctx.Args().First()] {
			return nil
		}
		local := !anonymous[ctx.Args().First()] && !ctx.IsSet("env")
		if local && (!isServed() || !reachable(os.Getenv("MICRO_PROXY"))) {
			return fmt.Errorf("%s (nothing listens at %s, for the state in %s)", unreachable, os.Getenv("MICRO_PROXY"), state.Dir())
		}
		if err := before(ctx); err != nil {
			return err
		}
		if !anonymous[ctx.Args().First()] {
			client.DefaultClient = operator{client.DefaultClient}
		}
		if !local {
			return nil
		}
		if err := launch.Patient(); err != nil {
			return err
		}
		if saved, err := token.Get(ctx); err == nil && saved.AccessToken != "" && time.Now().Before(saved.Expiry) {
			return nil
		}
		password, err := state.AdminPassword()
		if err != nil {
			return err
		}
		issued, err := auth.Token(auth.WithCredentials(state.Admin, password), auth.WithExpiry(time.Hour))
		if err != nil && microerrors.FromError(err).Code == http.StatusUnauthorized {
			return nil //nolint:nilerr // the password was changed: the command says that a login is needed
		}
		if err != nil {
			return fmt.Errorf("log in: %s", sentence(err))
		}
		auth.DefaultAuth.Init(auth.ClientToken(issued))
		return token.Save(ctx, issued)
	}
}

const unreachable = "the platform cannot be reached: start it with `make run` or `micro server`"

// isServed tells whether a server uses the state directory: the password is for nobody else who may listen where one did.
// With an address of the operator's own there may be no such directory.
func isServed() bool {
	if os.Getenv("MICRO_PROXY") != proxyOfState() {
		return true
	}
	pid, err := state.Server()
	return err == nil && pid != 0
}

// proxyOfState is where the server of the state directory takes calls of the command line.
func proxyOfState() string {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return ""
	}
	return addresses.Of("proxy")
}

// reachable tells whether something listens at an address.
func reachable(address string) bool {
	connection, err := net.DialTimeout("tcp", address, time.Second) //nolint:gosec,noctx // the address is the operator's, and a second is no time
	if err != nil {
		return false
	}
	_ = connection.Close() // it was only to be had
	return true
}

// operator is a client whose calls are the operator's. Some of Micro's commands, health and stats among them, call without
// saying who does. Only the command line is ever an operator.
type operator struct{ client.Client }

// Call makes a call with the operator's token.
func (o operator) Call(ctx context.Context, request client.Request, response any, opts ...client.CallOption) error {
	return o.Client.Call(ctx, request, response, append(opts, client.WithAuthToken())...)
}

// sentence is what to tell a person about an error: a Micro error's detail without the JSON around it, and what it means
// that nothing listens.
func sentence(err error) string {
	text := err.Error()
	var e *microerrors.Error
	if !errors.As(err, &e) {
		e = microerrors.Parse(text)
	}
	if e.Detail != "" {
		text = e.Detail
	}
	if strings.Contains(text, "connection refused") {
		return unreachable
	}
	return text
}
