// Package standintest starts what stands in for services of others, for tests.
package standintest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// stripe is where stripe-mock is. The go command builds it into its cache, once for everybody, and says where.
var stripe = sync.OnceValues(func() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	where := exec.Command("go", "tool", "-modfile=tools/go.mod", "-n", "stripe-mock")
	where.Dir, where.Stderr = filepath.Join(filepath.Dir(file), "..", "..", ".."), os.Stderr
	out, err := where.Output()
	return strings.TrimSpace(string(out)), err
})

var listening = regexp.MustCompile(`Listening for HTTP at address: (\S+)`)

// Stripe starts stripe-mock on a free port of the loopback interface, until the test ends, and returns its address. It is of
// the version in tools/go.mod, and takes any key that begins with sk_test_. It remembers nothing: what it answers is made up
// of what it is asked and of examples, which are the same for everybody.
func Stripe(t testing.TB) string {
	t.Helper()
	path, err := stripe()
	require.NoError(t, err, "build stripe-mock")
	// It listens for HTTPS as well, whatever it is told.
	cmd := exec.CommandContext(t.Context(), path, "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed when the test's context ended, before this
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			go func() { // so that it never waits for a reader
				for lines.Scan() {
				}
			}()
			return "http://" + found[1]
		}
	}
	require.Fail(t, "stripe-mock has ended without listening")
	return ""
}
