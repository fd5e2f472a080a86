package command

import (
	"errors"
	"flag"
	"strings"
	"testing"

	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		want arguments
	}{
		{"", arguments{}},
		{"server", arguments{command: "server"}},
		{"server --port 9 --state /x --run ./customers", arguments{command: "server", port: 9, state: "/x"}},
		{"server --stand-in stripe=bin/x --stand-in=mixpanel=y --port 9", arguments{command: "server", port: 9}},
		{"server --run=./a --port=9", arguments{command: "server", port: 9}},
		{"--state /x call customers Customers.Create --state /y", arguments{
			command: "call", state: "/x", rest: strings.Fields("micro call customers Customers.Create --state /y"),
		}},
		{"--env=dev services", arguments{command: "services", env: "dev"}},
		{"-e dev services", arguments{command: "services", env: "dev"}},
		{"--help", arguments{}},
		{"service auth --port 9", arguments{command: "service", service: "auth"}},
		{"server --tls --port 9", arguments{command: "server", tls: true, port: 9}},
		{"backup --state /x --max-pause 1s a.tar", arguments{command: "backup", state: "/x"}},
		{"restore --state=/x a.tar", arguments{command: "restore", state: "/x"}},
		{"--state /y backup a.tar", arguments{command: "backup", state: "/y", rest: strings.Fields("micro backup a.tar")}},
		{"server --help", arguments{command: "server", help: true}},
		{"server --port 9x", arguments{command: "server", help: true}},
		{"server --prot 9", arguments{command: "server", help: true}},
		{"server --address :1 --port 9", arguments{command: "server", port: 9}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"micro"}, strings.Fields(c.args)...)
			got := parse(args)
			if c.want.rest == nil {
				c.want.rest = args
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	flags := func() []cli.Flag { // a flag remembers its value
		return []cli.Flag{
			&cli.BoolFlag{Name: "force"}, &cli.StringFlag{Name: "args"}, &cli.StringSliceFlag{Name: "env_vars"},
			&cli.StringSliceFlag{Name: "metadata"},
		}
	}
	for _, c := range []struct{ args, err string }{
		{"--force --args=-v --env_vars=A=1,B=2 --env_vars=C=3 --metadata=team=a", ""},
		{"--env_vars=A", "--env_vars: "},
		{"--metadata=source=x", "--metadata: "},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			set := flag.NewFlagSet("run", flag.ContinueOnError)
			for _, f := range flags() {
				require.NoError(t, f.Apply(set))
			}
			require.NoError(t, set.Parse(strings.Fields(c.args)))
			options, err := optionsOf(cli.NewContext(cli.NewApp(), set, nil))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.True(t, options.Force)
			require.Equal(t, []string{"-v"}, options.Args)
			require.Equal(t, []string{"A=1", "B=2", "C=3"}, options.Env)
			require.Equal(t, map[string]string{"team": "a"}, options.Metadata)
		})
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("./x: no such directory"), "./x: no such directory"},
		{microerrors.NotFound("runtime", "no such service"), "no such service"},
		{errors.New(microerrors.NotFound("runtime", "as text").Error()), "as text"},
		{microerrors.InternalServerError("go.micro.client", "dial tcp: connection refused"), "the platform cannot be reached: start it with `make run` or `micro server`"},
	} {
		require.Equal(t, c.want, sentence(c.err))
	}
}
