//go:build platform

package acceptance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var versionBefore = flag.String("faults.before", "", "the commit of the version before this one; found in the history when empty")

// contracts are what two versions that run beside each other have to agree on: what they say to each other, and keep.
var contracts = []string{"*.proto", "*/service/migrations/*", "pkg/events/migrations", "pkg/service/lease/migrations"}

// before is the commit of the version before this one: the last one with other contracts.
func before(t *testing.T) string {
	t.Helper()
	if *versionBefore != "" {
		return *versionBefore
	}
	git := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", repository}, args...)...).Output()
		require.NoError(t, err, "git %s", args[0])
		return strings.TrimSpace(string(out))
	}
	changed := git(append([]string{"rev-list", "-1", "HEAD", "--"}, contracts...)...)
	if parents := strings.Fields(git("rev-list", "--parents", "-1", changed)); len(parents) > 1 {
		return parents[1]
	}
	t.Log("this clone has no history: this version is run beside itself (git fetch --unshallow, or -faults.before)")
	return "HEAD"
}

// TestVersionBefore runs the services of the version before this one, and this one's beside them on the same databases,
// streams and registry, as a rolling update does. Each has to understand what the other says and keeps.
func TestVersionBefore(t *testing.T) {
	commit := before(t)
	t.Logf("the version before is %s", commit)
	old := filepath.Join(t.TempDir(), "before")
	out, err := exec.CommandContext(t.Context(), "git", "-C", repository, "worktree", "add", "--detach", old, commit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		out, err := exec.Command("git", "-C", repository, "worktree", "remove", "--force", old).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})

	e := startEngines(t, 1)
	p := newPlatformWith(t, e.env())
	p.boot(t)
	p.runStoryFrom(t, old)
	s := &scene{t: t, platform: p, engines: e, watcher: watch(t, e, p)}
	truth := startTruth(t, p)
	require.Empty(t, s.settle(truth, time.Now()), "the version before does not work")

	// This version beside it, each as the one before is run: with its rights, and on its databases.
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./customers", "./billing", "./usage", "./signup", "./mixpanel")
	build.Dir = repository
	out, err = build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range services {
		beside(t, filepath.Join(bin, name), p.pid(t, name))
		require.Eventually(t, func() bool { return len(s.watcher.addresses(name)) == 2 }, patience, rate, "%s does not run twice", name)
	}
	for range 5 { // both of them answer, as calls are spread
		require.Empty(t, s.settle(truth, time.Now()), "they do not go together")
		require.True(t, pause(t.Context(), 2*time.Second))
	}
	join(t, truth, 4)

	// One after the other the version before goes.
	for _, name := range services {
		s.touch(name)
		out, err := p.Run(t.Context(), "update", filepath.Join(repository, name))
		require.NoError(t, err, "update %s: %s", name, out)
		require.Empty(t, s.settle(truth, time.Now()), "after the update of %s", name)
	}
	join(t, truth, 1)
	truth.stop()
	truth.check(t)
}

// join has people sign up and subscribe, each step with whichever version answers.
func join(t *testing.T, truth *truth, n int) {
	t.Helper()
	for range n {
		person := &person{
			platform: truth.platform.Client, email: fmt.Sprintf("joined.%d@example.com", len(truth.people)), password: "a good secret", subscribes: true,
		}
		signing, cancel := context.WithTimeout(t.Context(), time.Minute)
		require.NoError(t, person.signUp(signing))
		require.NoError(t, person.subscribe(signing))
		cancel()
		truth.people = append(truth.people, person)
	}
}

// beside runs a program as another process is run, until the test ends.
func beside(t *testing.T, binary string, like int) {
	t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", like))
	require.NoError(t, err)
	cmd := exec.Command(binary)
	cmd.Env = slices.DeleteFunc(strings.Split(string(environ), "\x00"), func(v string) bool {
		return v == "" || strings.HasPrefix(v, "MICRO_SERVICE_ADDRESS=")
	})
	cmd.Env = append(cmd.Env, "MICRO_SERVICE_ADDRESS=127.0.0.1:0")
	log, err := os.Create(binary + ".log")
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // its log says how
		require.NoError(t, log.Close())
		if t.Failed() {
			text, _ := os.ReadFile(binary + ".log")
			t.Logf("%s:\n%s", filepath.Base(binary), text[max(0, len(text)-1500):])
		}
	})
}
