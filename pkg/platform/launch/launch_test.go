package launch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// module writes a module whose files are given by their paths and returns its directory.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

const program = "package main\n\nimport (\n\t_ \"embed\"\n\t\"os\"\n)\n\n//go:embed page.html\nvar page string\n\n" +
	"func main() { os.Stdout.WriteString(page) }\n"

func TestFind(t *testing.T) {
	t.Parallel()
	dir := module(t, map[string]string{
		"plain/main.go": program, "marked/main.go": program, "marked/shop.mu": "", "two/main.go": program,
		"two/a.mu": "", "two/b.mu": "", "empty/readme": "", "file": "",
	})
	for _, c := range []struct{ name, arg, want, version, err string }{
		{"directory's name", "plain", "plain", "latest", ""},
		{"mark's name", "marked", "shop", "latest", ""},
		{"version", "plain@v2", "plain", "v2", ""},
		{"two marks", "two", "", "", "more than one .mu file"},
		{"no Go", "empty", "", "", "no Go files"},
		{"mistyped", "plian", "", "", "no such directory"},
		{"a file", "file", "", "", "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := Find(filepath.Join(dir, c.arg))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, s.Name)
			require.Equal(t, c.version, s.Version)
			require.True(t, filepath.IsAbs(s.Dir))
		})
	}
}

func TestBuildInPlaceWithWhatTheSourceEmbeds(t *testing.T) {
	t.Parallel()
	dir := module(t, map[string]string{
		"one/main.go": program, "one/page.html": "<p>one</p>", "two/main.go": program, "two/page.html": "<p>two</p>",
	})
	other := module(t, map[string]string{"three/main.go": program, "three/page.html": "<p>three</p>"})
	services := []Service{{Dir: filepath.Join(dir, "one")}, {Dir: filepath.Join(other, "three")}, {Dir: filepath.Join(dir, "two")}}
	var output bytes.Buffer
	binaries, err := Build(t.Context(), services, t.TempDir(), &output)
	require.NoError(t, err, output.String())
	for i, want := range []string{"<p>one</p>", "<p>three</p>", "<p>two</p>"} {
		page, err := exec.CommandContext(t.Context(), binaries[i]).Output()
		require.NoError(t, err)
		require.Equal(t, want, string(page))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3, "the source tree is left as it was")
}

func TestBuildFailures(t *testing.T) {
	t.Parallel()
	dir := module(t, map[string]string{"broken/main.go": "package main\n\nfunc main() { x }\n", "library/x.go": "package x\n",
		"good/main.go": "package main\n\nfunc main() {}\n"})
	var output bytes.Buffer
	_, err := Build(t.Context(), []Service{{Dir: filepath.Join(dir, "broken")}}, t.TempDir(), &output)
	require.ErrorContains(t, err, "the build failed")
	require.Contains(t, output.String(), "undefined: x")
	_, err = Build(t.Context(), []Service{{Dir: filepath.Join(dir, "library")}, {Dir: filepath.Join(dir, "good")}}, t.TempDir(), &output)
	require.ErrorContains(t, err, "library: not a main package")
}

func TestBuildThatIsStoppedLeavesNothing(t *testing.T) {
	dir := module(t, map[string]string{"one/main.go": program, "one/page.html": "<p>one</p>"})
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("GOCACHE", t.TempDir()) // so that it takes a while
	parent := t.TempDir()
	build, err := BuildDir(parent)
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Build(ctx, []Service{{Dir: filepath.Join(dir, "one")}}, build, io.Discard)
		ended <- err
	}()
	require.Eventually(t, func() bool {
		started, err := filepath.Glob(filepath.Join(build, "go-build*"))
		return err == nil && len(started) > 0
	}, 30*time.Second, time.Millisecond)
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, <-ended, enough)
	entries, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, RemoveBuildDirs(parent))
	entries, err = os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestMissingToolsAreNamed(t *testing.T) {
	goBinary, err := exec.LookPath("go")
	require.NoError(t, err)
	t.Setenv("PATH", t.TempDir())
	_, err = Build(t.Context(), []Service{{Dir: t.TempDir()}}, t.TempDir(), os.Stderr)
	require.ErrorContains(t, err, "there is no go in PATH")

	bin := t.TempDir()
	require.NoError(t, os.Symlink(goBinary, filepath.Join(bin, "go")))
	t.Setenv("PATH", bin)
	t.Setenv("CGO_ENABLED", "1")
	t.Setenv("CC", "nocc")
	_, err = Build(t.Context(), []Service{{Dir: t.TempDir()}}, t.TempDir(), os.Stderr)
	require.ErrorContains(t, err, "needs a C compiler, and nocc cannot be used")
}
