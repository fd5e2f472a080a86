//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program makes a binary that says what it finds.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := `package main
import ("fmt"; "os")
func main() { _, err := os.Stat("/bin/sh"); fmt.Println(os.Args[1:], os.Environ(), err != nil) }
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	binary := filepath.Join(dir, "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// files are those of an archive.
func files(t *testing.T, r io.Reader) (names []string, headers map[string]*tar.Header, contents map[string][]byte) {
	t.Helper()
	headers, contents = make(map[string]*tar.Header), make(map[string][]byte)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, headers, contents
		}
		require.NoError(t, err)
		require.True(t, header.ModTime.Equal(epoch), header.Name)
		names, headers[header.Name] = append(names, header.Name), header
		contents[header.Name], err = io.ReadAll(archive)
		require.NoError(t, err)
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	i := image{name: "program", tag: "v1", binary: program(t), certificates: []byte("certificates\n")}
	dir := t.TempDir()
	digest, size, err := i.write(filepath.Join(dir, "image.tar"))
	require.NoError(t, err)
	first, err := os.ReadFile(filepath.Join(dir, "image.tar"))
	require.NoError(t, err)
	_, _, err = i.write(filepath.Join(dir, "again.tar"))
	require.NoError(t, err)
	again, err := os.ReadFile(filepath.Join(dir, "again.tar"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(first, again), "the same makes the same")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2)

	_, _, contents := files(t, bytes.NewReader(first))
	for name, content := range contents {
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			require.Equal(t, "sha256:"+digest, sum(content), "what it is called by is what it is")
		}
	}
	type described struct {
		MediaType, Digest string
		Size              int
		Annotations       map[string]string
	}
	blob := func(d described) []byte {
		content := contents["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		require.Len(t, content, d.Size)
		require.NotEmpty(t, content)
		return content
	}
	var index struct{ Manifests []described }
	require.NoError(t, json.Unmarshal(contents["index.json"], &index))
	require.Len(t, index.Manifests, 1)
	require.Equal(t, digest, index.Manifests[0].Digest)
	require.Equal(t, "docker.io/m3o/program:v1", index.Manifests[0].Annotations["io.containerd.image.name"])
	var manifest struct {
		Config described
		Layers []described
	}
	require.NoError(t, json.Unmarshal(blob(index.Manifests[0]), &manifest))
	require.Len(t, manifest.Layers, 1)
	require.Equal(t, size, manifest.Layers[0].Size)
	var config struct {
		Config struct {
			User            string
			Entrypoint, Env []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	require.NoError(t, json.Unmarshal(blob(manifest.Config), &config))
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/bin/program"}, config.Config.Entrypoint)

	zip, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	require.NoError(t, err)
	layer, err := io.ReadAll(zip)
	require.NoError(t, err)
	require.Equal(t, []string{sum(layer)}, config.RootFS.DiffIDs)
	requireLayer(t, layer, config.Config.Env)

	var docker []struct {
		Config           string
		Layers, RepoTags []string
	}
	require.NoError(t, json.Unmarshal(contents["manifest.json"], &docker))
	require.Equal(t, []string{"m3o/program:v1"}, docker[0].RepoTags)
	require.NotEmpty(t, contents[docker[0].Config])
	require.NotEmpty(t, contents[docker[0].Layers[0]])
}

// requireLayer looks for what is in a layer, and runs it: as a container would when that is allowed here.
func requireLayer(t *testing.T, layer []byte, env []string) {
	t.Helper()
	names, headers, contents := files(t, bytes.NewReader(layer))
	root := t.TempDir()
	var executables []string
	for _, name := range names {
		header := headers[name]
		path := filepath.Join(root, name)
		if header.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		if header.Mode&0o111 != 0 {
			executables = append(executables, name)
		}
		require.Zero(t, header.Mode&0o022, "%s: only its owner may change it", name)
		require.NoError(t, os.WriteFile(path, contents[name], os.FileMode(header.Mode)))
	}
	require.Equal(t, []string{"bin/program"}, executables, "and no shell")
	require.Equal(t, user, headers["var/lib/micro/"].Uid)
	require.Equal(t, "certificates\n", string(contents["etc/ssl/certs/ca-certificates.crt"]))

	run := exec.CommandContext(t.Context(), filepath.Join(root, "bin/program"), "argument")
	run.Env = env
	confine(run, root)
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "[argument] [PATH=/bin HOME=/var/lib/micro MICRO_STATE=/var/lib/micro]")
	if run.SysProcAttr != nil {
		require.Contains(t, string(out), "true", "there is no shell")
	}
}

func TestOnlyStaticBinaries(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	dir := t.TempDir()
	_, _, err = image{name: "sh", tag: "x", binary: shell}.write(filepath.Join(dir, "image.tar"))
	require.ErrorContains(t, err, "it is linked dynamically")
	_, _, err = image{name: "x", tag: "x", binary: "main_test.go"}.write(filepath.Join(dir, "image.tar"))
	require.Error(t, err)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
