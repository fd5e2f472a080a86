package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/story"
)

func TestStory(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	require.NoError(t, story.Play(t.Context(), story.Config{Client: p.Client, Source: repository, Out: t.Output()}))
	require.Zero(t, p.stop(t))
	require.Empty(t, p.binaries())

	begin := time.Now()
	require.True(t, p.start(t, services...))
	t.Logf("started again, warm, in %s", time.Since(begin).Round(time.Millisecond))
	answer, err := p.Call(t.Context(), "customers", "Customers.List", "{}")
	require.NoError(t, err)
	require.NotEmpty(t, answer["customers"], "what was there is there again")
}

func TestTwoPlatformsBesideEachOther(t *testing.T) {
	t.Parallel()
	one, two := boot(t, "customers"), boot(t, "customers")
	_, err := one.Call(t.Context(), "customers", "Customers.Create", `{"email": "one@example.com"}`)
	require.NoError(t, err)
	answer, err := two.Call(t.Context(), "customers", "Customers.List", `{}`)
	require.NoError(t, err)
	require.Empty(t, answer["customers"])
	out, err := one.Run(t.Context(), "shutdown")
	require.NoError(t, err, out)
	<-one.done
	require.Zero(t, one.cmd.ProcessState.ExitCode())
	_, err = two.Call(t.Context(), "customers", "Customers.List", `{}`)
	require.NoError(t, err)
}

func TestCommands(t *testing.T) {
	t.Parallel()
	p := boot(t)
	run := func(args ...string) string {
		out, err := p.Run(t.Context(), args...)
		require.NoError(t, err, out)
		return out
	}
	run("run", filepath.Join(repository, "mixpanel"))
	answers(t, p.Client, "/mixpanel/Ping", "{}", 30*time.Second)
	require.Contains(t, run("status"), "running")
	require.Contains(t, run("services"), "mixpanel")
	require.Contains(t, run("logs", "mixpanel"), "mixpanel")
	require.Regexp(t, `(?m)\sok$`, run("debug", "health", "mixpanel"))
	require.Regexp(t, `(?m)^mixpanel-.*\s\d+(\.\d+)?[mh]?s\s`, run("debug", "stats", "mixpanel"))
	before := p.binaries()
	require.Len(t, before, 1)
	run("run", filepath.Join(repository, "mixpanel"))
	require.Equal(t, before, p.binaries(), "the same binary goes on")
	run("update", filepath.Join(repository, "mixpanel"))
	after := p.binaries()
	require.Len(t, after, 1)
	require.NotEqual(t, before[0].pid, after[0].pid)
	answers(t, p.Client, "/mixpanel/Ping", "{}", 30*time.Second)
	run("config", "set", "a.b", "4")
	require.Equal(t, "4", strings.TrimSpace(run("config", "get", "a.b")))
	_, err := p.Run(t.Context(), "config", "set", "micro.billing.currency", "nonsense")
	require.NoError(t, err)
	out, err := p.Run(t.Context(), "run", filepath.Join(repository, "billing"))
	require.Error(t, err, "it tells when a service does not start")
	require.Contains(t, out, "billing: it does not start: micro.billing.currency: expected")
	run("kill", "billing")
	run("kill", filepath.Join(repository, "mixpanel"))
	require.Empty(t, p.binaries())
	require.NotContains(t, run("status"), "mixpanel")
	leftovers, err := os.ReadDir(p.tmp)
	require.NoError(t, err)
	require.Empty(t, leftovers, "nothing is left in the temporary directory")

	for _, wrong := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "./mixpnale"}, "./mixpnale: no such directory"},
		{[]string{"update", filepath.Join(repository, "usage")}, "it does not run yet: use micro run"},
		{[]string{"run", repository}, "no Go files"},
		{[]string{"server", "--state", p.State}, "another server (process "},
	} {
		out, err := p.Run(t.Context(), wrong.args...)
		require.Error(t, err)
		require.Contains(t, out, wrong.want)
		require.Equal(t, 1, strings.Count(out, wrong.want))
	}
}

// Stock Micro has the login admin/micro.
func TestOnlyTheOwnerOfTheStateIsAdmin(t *testing.T) {
	t.Parallel()
	p := boot(t)
	out, err := p.Run(t.Context(), "login", "--username", "admin", "--password", "micro")
	require.Error(t, err, out)
	password, err := os.ReadFile(filepath.Join(p.State, "admin_password"))
	require.NoError(t, err)
	require.Contains(t, p.out.String(), "Login     admin, password "+strings.TrimSpace(string(password)))
	out, err = p.Run(t.Context(), "login", "--username", "admin", "--password", strings.TrimSpace(string(password)))
	require.NoError(t, err, out)
	out, err = p.Run(t.Context(), "status")
	require.NoError(t, err, out)
	logs, err := filepath.Glob(filepath.Join(p.State, "logs", "*.log"))
	require.NoError(t, err)
	for _, log := range logs {
		b, err := os.ReadFile(log)
		require.NoError(t, err)
		require.NotContains(t, string(b), strings.TrimSpace(string(password)), log)
	}
}

func TestStartFailuresAreOneSentence(t *testing.T) {
	t.Parallel()
	running := boot(t, "billing")
	t.Run("taken port", func(t *testing.T) {
		p := newPlatform(t)
		p.port = running.port
		require.False(t, p.start(t))
		require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
		require.Contains(t, p.out.String(), "is taken (the platform's api listens there): choose another block")
		require.Equal(t, 1, strings.Count(p.out.String(), "\n"))
	})
	t.Run("broken configuration", func(t *testing.T) {
		_, err := running.Run(t.Context(), "config", "set", "micro.billing", `{"tiers": 5}`)
		require.NoError(t, err)
		require.Zero(t, running.stop(t))
		for _, command := range []string{"status", "services", "kill mixpanel", "call customers Customers.List {}"} {
			out, err := running.Run(t.Context(), strings.Fields(command)...)
			require.Error(t, err)
			require.Contains(t, out, "the platform cannot be reached: start it with `make run` or `micro server`")
			require.Equal(t, 1, strings.Count(out, "\n"))
		}
		require.False(t, running.start(t, "billing"))
		require.Equal(t, 1, running.cmd.ProcessState.ExitCode())
		require.Contains(t, running.out.String(), "micro.billing.tiers: expected")
		require.Contains(t, running.out.String(), "start the platform without it")
		require.Empty(t, running.binaries())
	})
	t.Run("wrong address of a database", func(t *testing.T) {
		p := boot(t)
		_, err := p.Run(t.Context(), "config", "set", "customers.db.address", "mysql://db/customers")
		require.NoError(t, err)
		require.Zero(t, p.stop(t))
		require.False(t, p.start(t, "customers"))
		require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
		require.Contains(t, p.out.String(), "customers.db.address: expected postgres://")
		require.NotContains(t, p.out.String(), "mysql")
	})
	t.Run("mistyped service", func(t *testing.T) {
		p := newPlatform(t)
		p.port = running.port
		require.False(t, p.start(t, "custmers"))
		require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
		require.Contains(t, p.out.String(), "./custmers: no such directory")
	})
}
