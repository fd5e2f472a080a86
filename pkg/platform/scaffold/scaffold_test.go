package scaffold

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shape is what every service consists of. Generated code is beside it.
var shape = []string{
	"Makefile", "README.md", "generate.go", "handler/handler.go", "handler/fakes/core.go", "handler/ping.go",
	"handler/ping_test.go", "main.go", "account.mu", "proto/account.pb.go", "proto/account.pb.micro.go",
	"proto/account.proto", "proto/fakes/account_service.go", "service/account.go", "service/account_test.go",
	"subscriber/doc.go",
}

// copyRepository copies what git knows of the repository, and what it would, into a directory of the test's.
func copyRepository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted and not yet committed
		}
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, info.Mode().Perm()))
	}
	return dir
}

func TestNewServiceBuildsVetsAndTestsGreenAtOnce(t *testing.T) {
	t.Parallel()
	dir := copyRepository(t)
	var out bytes.Buffer
	require.NoError(t, New(t.Context(), dir, "account", &out), out.String())
	for _, name := range shape {
		require.FileExists(t, filepath.Join(dir, "account", name))
	}
	for _, args := range [][]string{{"build", "-o", os.DevNull, "./account"}, {"vet", "./account/..."}, {"test", "./account/..."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %v: %s", args, b)
	}
	gofmt := exec.CommandContext(t.Context(), "gofmt", "-l", "account")
	gofmt.Dir = dir
	b, err := gofmt.CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(b), "everything is formatted")

	err = New(t.Context(), dir, "account", io.Discard)
	require.ErrorContains(t, err, "account: there is already something of that name")
}

func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/m\n"), 0o600))
	for _, name := range []string{"", "a", "Account", "1st", "my-account", "../account", "a/b", "func", "pkg", "main", "auth", strings.Repeat("a", 40)} {
		require.ErrorContains(t, New(t.Context(), dir, name, io.Discard), "name: ", name)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is written")
}

func TestNewNeedsAModule(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, New(t.Context(), t.TempDir(), "account", io.Discard), "no go.mod here")
}
