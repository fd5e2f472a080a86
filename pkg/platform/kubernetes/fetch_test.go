package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authpb "github.com/micro/micro/v3/proto/auth"
	pb "github.com/micro/micro/v3/proto/runtime"
	microerrors "github.com/micro/micro/v3/service/errors"
	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/auth/token"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/kubernetes/static"
	"github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// memory is a blob store.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

// anything is a binary for these tests.
func anything(string) error { return nil }

func newMemory() *memory { return &memory{blobs: make(map[string][]byte)} }

func (m *memory) Read(key string, _ ...store.BlobOption) (io.Reader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.NewReader(b), nil
}

func (m *memory) Write(key string, blob io.Reader, _ ...store.BlobOption) error {
	b, err := io.ReadAll(blob)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[key] = b
	return err
}

func (m *memory) Delete(key string, _ ...store.BlobOption) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, key)
	return nil
}

func (m *memory) List(opts ...store.BlobListOption) ([]string, error) {
	var options store.BlobListOptions
	for _, o := range opts {
		o(&options)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Collect(maps.Keys(m.blobs))
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, options.Prefix) }), nil
}

// logins logs in whoever has the secret "good", as what its id says.
type logins struct{}

func (logins) Generate(context.Context, *authpb.GenerateRequest, *authpb.GenerateResponse) error {
	return microerrors.NotFound("auth", "not here")
}

func (logins) Inspect(context.Context, *authpb.InspectRequest, *authpb.InspectResponse) error {
	return microerrors.NotFound("auth", "not here")
}

func (logins) Token(_ context.Context, req *authpb.TokenRequest, rsp *authpb.TokenResponse) error {
	if req.GetSecret() != "good" {
		return microerrors.Unauthorized("auth.Auth.Token", "no such id with that secret")
	}
	parts := strings.Split(req.GetId(), "/")
	account := token.ServiceAccount(req.GetId(), parts[1])
	if parts[0] == "sold" {
		account.Metadata[token.SoldKey], account.Scopes = "true", nil
	}
	rsp.Token = &authpb.Token{AccessToken: servicetest.Token(account)}
	return nil
}

// platform is one that a binary can be fetched from: who runs what is in running.
func platform(t *testing.T, blobs *Blobs, running map[string]*record) origin {
	t.Helper()
	find := func(name string) (*record, error) {
		if rec := running[name]; rec != nil {
			return rec, nil
		}
		return nil, microruntime.ErrNotFound
	}
	c := servicetest.Serve(t, "runtime", func(s server.Server) error {
		if err := authpb.RegisterAuthHandler(s, logins{}); err != nil {
			return err
		}
		return pb.RegisterBuildHandler(s, build{find, blobs})
	})
	return origin{auth: c.Address, runtime: c.Address}
}

// be makes this process one of a service, as its environment has it.
func be(t *testing.T, id, secret string) {
	t.Helper()
	parts := strings.Split(id, "/")
	for name, value := range map[string]string{
		"MICRO_AUTH_ID": id, "MICRO_AUTH_SECRET": secret, "MICRO_SERVICE_NAME": parts[1], "MICRO_SERVICE_VERSION": parts[2],
	} {
		t.Setenv(name, value)
	}
}

func TestServiceFetchesItsBinary(t *testing.T) {
	store := newMemory()
	blobs := NewBlobs(store, anything)
	binary := bytes.Repeat([]byte("a binary of more than one message\n"), 100_000)
	source, err := blobs.Write(bytes.NewReader(binary))
	require.NoError(t, err)
	other, err := blobs.Write(strings.NewReader("somebody else's"))
	require.NoError(t, err)
	from := platform(t, blobs, map[string]*record{
		"weather": {Name: "weather", Version: "latest", Source: source}, "other": {Name: "other", Version: "latest", Source: other},
	})
	for _, id := range []string{"service/weather/latest", "sold/weather/latest"} {
		be(t, id, "good")
		dir := filepath.Join(t.TempDir(), "bin")
		name, err := obtain(t.Context(), source, dir, from)
		require.NoError(t, err, id)
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(binary, got))
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

		// A container that starts again has it, wherever the platform is; one that somebody has changed is fetched anew.
		_, err = obtain(t.Context(), source, dir, origin{})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, []byte("changed"), 0o700))
		name, err = obtain(t.Context(), source, dir, from)
		require.NoError(t, err)
		require.NoError(t, check(name, source))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

// Pods of the former binary run until those of the new one are ready.
func TestServiceFetchesItsFormerBinary(t *testing.T) {
	blobs := NewBlobs(newMemory(), anything)
	former, err := blobs.Write(strings.NewReader("former"))
	require.NoError(t, err)
	from := platform(t, blobs, map[string]*record{
		"weather": {Name: "weather", Version: "latest", Source: "binary://" + strings.Repeat("ab", 32), Former: former},
	})
	be(t, "service/weather/latest", "good")
	_, err = obtain(t.Context(), former, t.TempDir(), from)
	require.NoError(t, err)
}

func TestServiceFetchesNothingElse(t *testing.T) {
	memory := newMemory()
	blobs := NewBlobs(memory, anything)
	source, err := blobs.Write(strings.NewReader("its own"))
	require.NoError(t, err)
	other, err := blobs.Write(strings.NewReader("somebody else's"))
	require.NoError(t, err)
	from := platform(t, blobs, map[string]*record{
		"weather": {Name: "weather", Version: "latest", Source: source}, "other": {Name: "other", Version: "latest", Source: other},
	})
	for what, c := range map[string]struct{ id, secret, source, want string }{
		"a bad secret":      {"service/weather/latest", "bad", source, "no such id with that secret"},
		"another's binary":  {"service/weather/latest", "good", other, "there is no such binary"},
		"another version":   {"service/weather/v2", "good", source, "there is no such binary"},
		"one that is gone":  {"service/gone/latest", "good", source, "there is no such binary"},
		"no reference":      {"service/weather/latest", "good", "binary://../../etc/passwd", "expected the reference"},
		"another reference": {"service/weather/latest", "good", runtime.Digest(source), "expected the reference"},
	} {
		t.Run(what, func(t *testing.T) {
			be(t, c.id, c.secret)
			dir := t.TempDir()
			_, err := obtain(t.Context(), c.source, dir, from)
			require.ErrorContains(t, err, c.want)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
	t.Run("as another one", func(t *testing.T) {
		be(t, "service/weather/latest", "good")
		t.Setenv("MICRO_SERVICE_NAME", "other")
		_, err := obtain(t.Context(), other, t.TempDir(), from)
		require.ErrorContains(t, err, "name: must be the name of the service itself")
	})
	t.Run("what is not what was uploaded", func(t *testing.T) {
		be(t, "service/weather/latest", "good")
		memory.blobs[runtime.Digest(source)] = []byte("changed")
		dir := t.TempDir()
		_, err := obtain(t.Context(), source, dir, from)
		require.ErrorIs(t, err, errDamaged)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	})
}

// A pod becomes the service: the same process, with its arguments and its environment.
func TestStart(t *testing.T) {
	t.Parallel()
	const script = "#!/bin/sh\necho \"$$ $GREETING $*\"\n"
	dir := t.TempDir()
	name, source, err := runtime.Draft(dir, strings.NewReader(script))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	require.NoError(t, os.Rename(name, filepath.Join(dir, "bin", runtime.Digest(source))))
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{
		startEnv + "=start " + source + " -- --flag value", "GREETING=hello", state.Env + "=" + dir,
		state.ServersEnv + "=%s.invalid:1", "HOME=" + dir,
	}
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	require.NoError(t, cmd.Wait(), "%s", out)
	require.Equal(t, fmt.Sprintf("%d hello --flag value\n", cmd.Process.Pid), out.String())
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	store := newMemory()
	b := NewBlobs(store, anything)
	now := time.Now()
	b.clock = func() time.Time { return now }
	first, err := b.Write(strings.NewReader("first"))
	require.NoError(t, err)
	again, err := b.Write(strings.NewReader("first"))
	require.NoError(t, err)
	require.Equal(t, first, again)
	second, err := b.Write(strings.NewReader("second"))
	require.NoError(t, err)
	_, err = b.Write(strings.NewReader(""))
	require.Equal(t, kinds.KindInvalid, kinds.KindOf(err))
	_, err = NewBlobs(store, static.Check).Write(strings.NewReader("#!/bin/sh"))
	require.ErrorContains(t, err, "data: it is not a binary of Linux")
	require.Equal(t, kinds.KindInvalid, kinds.KindOf(err))
	require.NoError(t, b.Check(first))
	require.ErrorContains(t, b.Check("binary://"+strings.Repeat("ab", 32)), "there is no such binary")
	require.ErrorContains(t, b.Check("binary://"), "expected the reference")

	now = now.Add(runtime.UnusedAge - time.Second)
	require.NoError(t, b.Retain([]string{second}))
	require.NoError(t, b.Check(first), "it may be about to be run")
	now = now.Add(time.Second)
	require.NoError(t, b.Retain([]string{second}))
	require.Error(t, b.Check(first))
	require.NoError(t, b.Check(second))

	// Another process has not seen since when it is not used.
	other := NewBlobs(store, anything)
	other.clock = b.clock
	require.NoError(t, other.Retain(nil))
	require.NoError(t, b.Check(second))
	now = now.Add(runtime.UnusedAge)
	require.NoError(t, other.Retain(nil))
	require.Error(t, b.Check(second))
}
