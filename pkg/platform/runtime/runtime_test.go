package runtime

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/service/store/memory"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/authority"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
	"github.com/m3o/backend/pkg/service/mtls"
)

// The test binary is the service that is run: it prints its environment into the file REPORT names and waits.
func TestMain(m *testing.M) {
	if report := os.Getenv("REPORT"); report != "" {
		text := strings.Join(os.Environ(), "\n") + "\nARGS=" + strings.Join(os.Args[1:], " ") + "\n"
		if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if os.Getenv("CRASH") != "" {
			fmt.Println("signup.mail: expected an address")
			os.Exit(1)
		}
		if os.Getenv("DEAF") != "" {
			signal.Ignore(syscall.SIGTERM)
		}
		select {}
	}
	dir, err := os.MkdirTemp("", "runtime-test-*")
	if err == nil {
		err = state.Use(dir)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Println(err)
	}
	os.Exit(code)
}

type fixture struct {
	*Runtime
	store    store.Store
	binaries Binaries
	source   string
	report   string

	certificates string
	certified    *authority.Authority
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{certificates: t.TempDir(), store: memory.NewStore(), binaries: Binaries{Dir: t.TempDir()}, report: filepath.Join(t.TempDir(), "report")}
	f.certified = authority.New(t.TempDir(), f.certificates)
	self, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer self.Close() //nolint:errcheck // it is only read
	f.source, err = f.binaries.Write(self)
	require.NoError(t, err)
	f.restart(t)
	return f
}

// restart replaces the runtime by one that knows only what the first has stored.
func (f *fixture) restart(t *testing.T) {
	t.Helper()
	if f.Runtime != nil {
		require.NoError(t, f.Stop())
		require.NoError(t, os.Remove(f.report))
	}
	r, err := New(Config{
		Store: f.store, Binaries: f.binaries, Env: func(bool) []string { return []string{"REPORT=" + f.report, "SHARED=yes"} },
		Credentials: func(service, version string, sold bool) Credentials {
			return Credentials{ID: fmt.Sprintf("%s-%s-%t", service, version, sold), Secret: "secret"}
		},
		Certify: func(service string, sold bool) error {
			return f.certified.Issue(map[bool]authority.Kind{false: authority.Service, true: authority.Sold}[sold], service)
		},
		Withdraw:   f.certified.Withdraw,
		Supervisor: supervisor.Config{MinBackoff: time.Millisecond, Grace: 3 * time.Second},
	})
	require.NoError(t, err)
	require.NoError(t, r.Start())
	t.Cleanup(func() { require.NoError(t, r.Stop()) })
	f.Runtime = r
}

func (f *fixture) service(name string) *microruntime.Service {
	return &microruntime.Service{Name: name, Source: f.source, Metadata: map[string]string{"source": "/src/" + name}}
}

func (f *fixture) reported(t *testing.T) string {
	t.Helper()
	var report string
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(f.report)
		report = string(b)
		return err == nil && strings.Contains(report, "ARGS=")
	}, 10*time.Second, 5*time.Millisecond)
	return report
}

func (f *fixture) pid(t *testing.T, name string) int {
	t.Helper()
	s := f.get(name)
	require.NotNil(t, s)
	return s.process.Status().PID
}

func TestCreateRunsTheBinaryWithItsEnvironmentAndNothingElse(t *testing.T) {
	f := setup(t)
	t.Setenv("MICRO_METRICS_ADDRESS", "10.0.0.1:9100")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.2:4318")
	t.Setenv("OTEL_SERVICE_NAME", "must not be everybody's")
	t.Setenv("MICRO_CONFIG_SECRET_KEY", "must not leak")
	err := f.Create(f.service("alpha"), microruntime.WithArgs("one", "two"), microruntime.WithEnv([]string{"OWN=1"}))
	require.NoError(t, err)
	report := f.reported(t)
	for _, want := range []string{
		"SHARED=yes\n", "OWN=1\n", "ARGS=one two\n", "MICRO_PROFILE=service\n", "MICRO_SERVICE_NAME=alpha\n",
		"MICRO_SERVICE_VERSION=latest\n", "MICRO_SERVICE_ADDRESS=127.0.0.1:", "MICRO_AUTH_ID=alpha-latest-false\n", "MICRO_AUTH_SECRET=secret\n",
	} {
		require.Contains(t, report, want)
	}
	require.NotContains(t, report, "must not leak")

	found, err := f.Read()
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, microruntime.Running, found[0].Status)
	require.Equal(t, "/src/alpha", found[0].Metadata["source"])
}

func TestCreateAgain(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha")))
	first := f.pid(t, "alpha")
	require.NoError(t, f.Create(f.service("alpha")))
	require.Equal(t, first, f.pid(t, "alpha"), "nothing has changed: nothing is restarted")
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithForce(true)))
	second := f.pid(t, "alpha")
	require.NotEqual(t, first, second)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithArgs("new")))
	require.NotEqual(t, second, f.pid(t, "alpha"))
	other := f.service("alpha")
	other.Version = "v2"
	require.ErrorContains(t, f.Create(other), "version: alpha@latest runs already")
	require.ErrorIs(t, f.Update(other), microruntime.ErrNotFound)
	require.ErrorIs(t, f.Delete(other), microruntime.ErrNotFound)
	found, err := f.Read()
	require.NoError(t, err)
	require.Len(t, found, 1, "there is one copy")
}

func TestKilledServiceComesBackAtItsAddress(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha")))
	address := func() string {
		_, after, _ := strings.Cut(f.reported(t), "MICRO_SERVICE_ADDRESS=")
		line, _, _ := strings.Cut(after, "\n")
		return line
	}
	before, pid := address(), f.pid(t, "alpha")
	require.NoError(t, os.Remove(f.report))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Equal(t, before, address())
}

func TestServicesComeBackWithTheRuntime(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithArgs("kept")))
	require.Contains(t, f.reported(t), "ARGS=kept")
	pid := f.pid(t, "alpha")
	f.restart(t)
	require.Contains(t, f.reported(t), "ARGS=kept")
	require.Error(t, syscall.Kill(pid, 0), "the first copy has ended")
}

func TestServiceThatDoesNotStartSaysWhy(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithEnv([]string{"CRASH=1"})))
	require.Eventually(t, func() bool {
		found, err := f.Read(microruntime.ReadService("alpha"))
		return err == nil && len(found) == 1 && found[0].Metadata["error"] == "signup.mail: expected an address" &&
			found[0].Metadata["restarts"] != "0"
	}, 10*time.Second, 5*time.Millisecond)
}

func TestServiceThatDoesNotStopHoldsUpNoOther(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("stubborn"), microruntime.WithEnv([]string{"DEAF=1"})))
	f.reported(t)
	begin, deleted := time.Now(), make(chan error, 1)
	go func() { deleted <- f.Delete(f.service("stubborn")) }()
	require.NoError(t, f.Create(f.service("alpha")))
	require.Less(t, time.Since(begin), 2*time.Second)
	require.NoError(t, <-deleted)
}

func TestDamagedBinaryIsReplacedByTheSameAgain(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha")))
	require.NoError(t, f.Stop())
	whole, err := os.ReadFile(f.binaries.Path(f.source))
	require.NoError(t, err)
	require.NoError(t, os.Remove(f.binaries.Path(f.source)))
	require.NoError(t, os.WriteFile(f.binaries.Path(f.source), nil, 0o700))
	require.NoError(t, f.Start())
	found, err := f.Read()
	require.NoError(t, err)
	require.Equal(t, microruntime.Error, found[0].Status)
	require.NotEmpty(t, found[0].Metadata["error"])
	_, err = f.binaries.Write(bytes.NewReader(whole))
	require.NoError(t, err)
	require.NoError(t, f.Create(f.service("alpha")))
	require.True(t, f.get("alpha").runs())
}

func TestUpdate(t *testing.T) {
	f := setup(t)
	require.ErrorIs(t, f.Update(f.service("alpha")), microruntime.ErrNotFound)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithArgs("kept")))
	pid := f.pid(t, "alpha")
	require.NoError(t, f.Update(f.service("alpha")))
	require.NotEqual(t, pid, f.pid(t, "alpha"))
	require.Contains(t, f.reported(t), "ARGS=kept")
}

func TestDelete(t *testing.T) {
	f := setup(t)
	require.ErrorIs(t, f.Delete(f.service("alpha")), microruntime.ErrNotFound)
	require.NoError(t, f.Create(f.service("alpha")))
	f.reported(t)
	pid := f.pid(t, "alpha")
	require.NoError(t, f.Delete(f.service("alpha")))
	require.Error(t, syscall.Kill(pid, 0))
	require.NoError(t, os.Remove(f.report))
	r, err := New(f.config)
	require.NoError(t, err)
	require.NoError(t, r.Start())
	found, err := r.Read()
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestRefusedRequestsChangeNothing(t *testing.T) {
	f := setup(t)
	for name, refused := range map[string]struct {
		resource microruntime.Resource
		options  []microruntime.CreateOption
		want     string
	}{
		"a namespace":       {&microruntime.Namespace{Name: "x"}, nil, "invalid resource"},
		"no name":           {&microruntime.Service{Source: f.source}, nil, "name: "},
		"a path as name":    {&microruntime.Service{Name: "../x", Source: f.source}, nil, "name: "},
		"a path as version": {&microruntime.Service{Name: "x", Version: "../y", Source: f.source}, nil, "version: "},
		"source code":       {&microruntime.Service{Name: "x", Source: "source://x:latest"}, nil, "source: "},
		"a path as source":  {&microruntime.Service{Name: "x", Source: "binary://../../etc/passwd"}, nil, "source: "},
		"unknown binary":    {&microruntime.Service{Name: "x", Source: binaryScheme + strings.Repeat("ab", 32)}, nil, "source: "},
		"instances":         {f.service("x"), []microruntime.CreateOption{microruntime.CreateInstances(2)}, "instances: "},
		"a command":         {f.service("x"), []microruntime.CreateOption{microruntime.WithCommand("sh")}, "command"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, f.Create(refused.resource, refused.options...), refused.want)
			keys, err := f.store.List()
			require.NoError(t, err)
			require.Empty(t, keys)
		})
	}
}

func TestBinaries(t *testing.T) {
	t.Parallel()
	b := Binaries{Dir: filepath.Join(t.TempDir(), "binaries")}
	first, err := b.Write(strings.NewReader("first"))
	require.NoError(t, err)
	again, err := b.Write(strings.NewReader("first"))
	require.NoError(t, err)
	require.Equal(t, first, again)
	second, err := b.Write(strings.NewReader("second"))
	require.NoError(t, err)
	_, err = b.Write(strings.NewReader(""))
	require.ErrorContains(t, err, "empty")

	require.NoError(t, b.Retain(nil))
	require.NoError(t, b.Check(first), "it may be about to be run")
	old := time.Now().Add(-2 * UnusedAge)
	for _, source := range []string{first, second} {
		require.NoError(t, os.Chtimes(b.Path(source), old, old))
	}
	require.NoError(t, b.Retain([]string{second}))
	require.Error(t, b.Check(first))
	require.NoError(t, b.Check(second))
	entries, err := os.ReadDir(b.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no upload leaves anything else")
}

func TestServicesGetWhatTheyNeedOfTheServersEnvironment(t *testing.T) {
	t.Setenv("PGPASSWORD", "p")
	t.Setenv("MICRO_METRICS_ADDRESS", "10.0.0.1:9100")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.2:4318")
	t.Setenv("OTEL_SERVICE_NAME", "must not be everybody's")
	t.Setenv("MICRO_STANDIN_STRIPE", "http://127.0.0.1:9009")
	t.Setenv("MICRO_CONFIG_SECRET_KEY", "must not leak")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "must not leak")
	env := strings.Join(serviceEnv(state.Addresses{Port: 9000}, false), "\n")
	require.Contains(t, env, "PGPASSWORD=p")
	require.Contains(t, env, "MICRO_PROXY=127.0.0.1:9001")
	require.Contains(t, env, state.Env+"="+state.Dir())
	require.Contains(t, env, "MICRO_METRICS_ADDRESS=10.0.0.1:0", "each has a port of its own")
	require.Contains(t, env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://10.0.0.2:4318")
	require.Contains(t, env, "MICRO_STANDIN_STRIPE=http://127.0.0.1:9009")
	require.NotContains(t, env, "must not")
	require.NotContains(t, strings.Join(serviceEnv(state.Addresses{Port: 9000}, true), "\n"), "MICRO_STANDIN", "nor does one that is sold")
}

func TestAServiceHasItsCertificateWhenItStartsAndUntilItIsKilled(t *testing.T) {
	f := setup(t)
	sold := f.service("beta")
	sold.Metadata[Sold] = "true"
	require.NoError(t, f.Create(sold))
	f.reported(t)
	cert := filepath.Join(f.certificates, "beta", "cert.pem")
	before, err := os.ReadFile(cert)
	require.NoError(t, err)
	_, err = mtls.Open(filepath.Dir(cert), "beta")
	require.NoError(t, err)

	require.NoError(t, syscall.Kill(f.pid(t, "beta"), syscall.SIGKILL))
	require.Eventually(t, func() bool {
		now, err := os.ReadFile(cert)
		return err == nil && string(now) != string(before)
	}, 10*time.Second, 5*time.Millisecond, "its next process has a key of its own")
	require.NoError(t, f.Delete(sold))
	require.NoDirExists(t, filepath.Dir(cert))
}
