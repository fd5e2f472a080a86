//go:build kubernetes

package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"

	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/runtime"
)

// fixture is a runtime as its pod has it, with the permissions of its ServiceAccount.
type fixture struct {
	*Runtime
	server *apiServer
	blobs  *Blobs
	source string
	verify string
}

// namespace is where the manifests let it run services.
const namespace = "micro-services"

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{server: cluster(t), blobs: NewBlobs(newMemory(), anything), verify: `{"keys":[]}`}
	var err error
	f.source, err = f.blobs.Write(strings.NewReader("a binary"))
	require.NoError(t, err)
	root, err := token.LoadRoot(t.TempDir())
	require.NoError(t, err)
	f.Runtime, err = New(Config{
		Cluster: f.server.account(t, "micro", "runtime", namespace), Image: "m3o/micro:dev", Binaries: f.blobs,
		Env: func(sold bool) []string {
			if sold {
				return []string{"MICRO_SERVERS=%s.micro.svc:8000"}
			}
			return []string{"MICRO_SERVERS=%s.micro.svc:8000", "OURS=1"}
		},
		Credentials: func(service, version string, sold bool) runtime.Credentials {
			return runtime.Issue(root.Services(), service, version, sold)
		},
		Verify: func() ([]byte, error) { return []byte(f.verify), nil },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Stop())
		for _, kind := range []string{"deployments", "services", "secrets", "pods"} {
			f.server.must(t, "-n", namespace, "delete", kind, "--all", "--force", "--grace-period=0")
		}
	})
	return f
}

func (f *fixture) service(name string) *microruntime.Service {
	return &microruntime.Service{Name: name, Source: f.source, Metadata: map[string]string{"source": "/src/" + name}}
}

func (f *fixture) sold(name string) *microruntime.Service {
	s := f.service(name)
	s.Metadata[runtime.Sold] = "true"
	return s
}

// template is what pods are made of: they are replaced when it changes.
func (f *fixture) template(t *testing.T, name string) string {
	t.Helper()
	return f.server.must(t, "-n", namespace, "get", "deployment", name, "-o", "jsonpath={.spec.template}")
}

func (f *fixture) secret(t *testing.T, name string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for key, value := range f.server.data(t, namespace)[name] {
		found[key] = string(value)
	}
	return found
}

func (f *fixture) one(t *testing.T, name string) *microruntime.Service {
	t.Helper()
	found, err := f.Read(microruntime.ReadService(name))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

func TestCreate(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithArgs("a", "b c"), microruntime.WithEnv([]string{
		"GREETING=x=y", "MICRO_AUTH_ID=forged", "MICRO_SERVICE_NAME=forged",
	}), microruntime.WithSecret("PASSWORD", "s3cr3t")))
	require.NoError(t, f.Create(f.sold("weather"), microruntime.CreateInstances(2)))

	for name, sold := range map[string]string{"alpha": "false", "weather": "true"} {
		var w workload
		f.server.read(t, &w, "-n", namespace, "get", "deployment", name)
		require.NoError(t, f.server.asPod(t, w), "its pods are let in")
		var metadata struct{ Labels map[string]string }
		require.NoError(t, json.Unmarshal(w.Spec.Template.Metadata, &metadata))
		require.Equal(t, sold, metadata.Labels[soldKey])
		require.Equal(t, false, w.Spec.Template.Spec["automountServiceAccountToken"])
		text, err := json.Marshal(w)
		require.NoError(t, err)
		for _, hidden := range []string{"s3cr3t", "GREETING=", "x=y", f.secret(t, name)["MICRO_AUTH_SECRET"]} {
			require.NotContains(t, string(text), hidden)
		}
		f.server.must(t, "-n", namespace, "get", "service", name)
	}
	alpha, weather := f.secret(t, "alpha"), f.secret(t, "weather")
	require.Equal(t, "service/alpha/latest", alpha["MICRO_AUTH_ID"])
	require.Equal(t, "sold/weather/latest", weather["MICRO_AUTH_ID"])
	require.Equal(t, "alpha", alpha["MICRO_SERVICE_NAME"])
	require.Equal(t, "x=y", alpha["GREETING"])
	require.Equal(t, "s3cr3t", alpha["PASSWORD"])
	require.Equal(t, "1", alpha["OURS"])
	require.Empty(t, weather["OURS"])
	require.Equal(t, f.verify, alpha[verifyKey])
	args := f.server.must(t, "-n", namespace, "get", "deployment", "alpha", "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	require.JSONEq(t, `["kubernetes", "start", "`+f.source+`", "--", "a", "b c"]`, args)
	require.Equal(t, "2", f.server.must(t, "-n", namespace, "get", "deployment", "weather", "-o", "jsonpath={.spec.replicas}"))

	found, err := f.Read()
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, "alpha", found[0].Name)
	require.Equal(t, "latest", found[0].Version)
	require.Equal(t, f.source, found[0].Source)
	require.Equal(t, "/src/alpha", found[0].Metadata["source"])
	require.Equal(t, microruntime.Starting, found[0].Status)
}

func TestCreateAgain(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha")))
	first := f.template(t, "alpha")
	again := f.service("alpha")
	again.Metadata["started"] = "another time"
	require.NoError(t, f.Create(again))
	require.Equal(t, first, f.template(t, "alpha"), "nothing has changed: no pod is replaced")
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithForce(true)))
	forced := f.template(t, "alpha")
	require.NotEqual(t, first, forced)
	require.NoError(t, f.Create(f.service("alpha")))
	require.Equal(t, forced, f.template(t, "alpha"))
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithEnv([]string{"A=1"})))
	changed := f.template(t, "alpha")
	require.NotEqual(t, forced, changed, "pods see the environment that there was when they were made")
	require.NoError(t, f.Create(f.service("alpha")))
	require.NotContains(t, f.secret(t, "alpha"), "A", "what is not said any more goes")
	before := f.template(t, "alpha")
	f.verify = `{"keys":[{}]}`
	require.NoError(t, f.Create(f.service("alpha")))
	require.NotEqual(t, before, f.template(t, "alpha"), "there are other keys")

	other := f.service("alpha")
	other.Version = "v2"
	require.ErrorContains(t, f.Create(other), "version: alpha@latest runs already")
	require.ErrorContains(t, f.Create(f.sold("alpha")), "metadata: alpha runs, and is sold or not")
	require.ErrorIs(t, f.Update(other), microruntime.ErrNotFound)
	require.ErrorIs(t, f.Delete(other), microruntime.ErrNotFound)
}

func TestUpdate(t *testing.T) {
	f := setup(t)
	require.ErrorIs(t, f.Update(f.service("alpha")), microruntime.ErrNotFound)
	require.NoError(t, f.Create(f.service("alpha"), microruntime.WithArgs("kept"), microruntime.WithEnv([]string{"KEPT=1"})))
	source, err := f.blobs.Write(strings.NewReader("another binary"))
	require.NoError(t, err)
	next := f.service("alpha")
	next.Source = source
	require.NoError(t, f.Update(next))
	args := f.server.must(t, "-n", namespace, "get", "deployment", "alpha", "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	require.JSONEq(t, `["kubernetes", "start", "`+source+`", "--", "kept"]`, args)
	require.Equal(t, "1", f.secret(t, "alpha")["KEPT"])
	require.Equal(t, source, f.one(t, "alpha").Source)
	rec, err := f.read("alpha")
	require.NoError(t, err)
	require.Equal(t, source, rec.Source, "what its pods may fetch")
	require.Equal(t, f.source, rec.Former, "and those that are being replaced")
	before := f.template(t, "alpha")
	require.NoError(t, f.Update(next))
	require.NotEqual(t, before, f.template(t, "alpha"), "an update restarts")
}

func TestDelete(t *testing.T) {
	f := setup(t)
	require.ErrorIs(t, f.Delete(f.service("alpha")), microruntime.ErrNotFound)
	require.NoError(t, f.Create(f.service("alpha")))
	// One that was killed half-way is done again.
	f.server.must(t, "-n", namespace, "delete", "deployment", "alpha")
	require.NoError(t, f.Delete(f.service("alpha")))
	require.ErrorIs(t, f.Delete(f.service("alpha")), microruntime.ErrNotFound)
	require.NoError(t, f.Create(f.service("alpha")))
	require.NoError(t, f.Delete(f.service("alpha")))
	found, err := f.Read()
	require.NoError(t, err)
	require.Empty(t, found)
	require.Empty(t, f.server.must(t, "-n", namespace, "get", "deployments,services,secrets", "-o", "name"))
}

func TestRefusedRequestsChangeNothing(t *testing.T) {
	f := setup(t)
	f.server.must(t, "-n", namespace, "create", "secret", "generic", "foreign")
	for name, refused := range map[string]struct {
		resource microruntime.Resource
		options  []microruntime.CreateOption
		want     string
	}{
		"a namespace":        {&microruntime.Namespace{Name: "x"}, nil, "invalid resource"},
		"no name":            {&microruntime.Service{Source: f.source}, nil, "name: "},
		"a hyphen at an end": {&microruntime.Service{Name: "x-", Source: f.source}, nil, "name: "},
		"a core service":     {f.service("auth"), nil, "name: a core service has this one"},
		"somebody else's":    {f.service("foreign"), nil, "name: something else"},
		"a path as source":   {&microruntime.Service{Name: "x", Source: "binary://../../etc/passwd"}, nil, "source: "},
		"unknown binary":     {&microruntime.Service{Name: "x", Source: "binary://" + strings.Repeat("ab", 32)}, nil, "source: "},
		"many instances":     {f.service("x"), []microruntime.CreateOption{microruntime.CreateInstances(17)}, "instances: "},
		"a command":          {f.service("x"), []microruntime.CreateOption{microruntime.WithCommand("sh")}, "command"},
		"an image":           {f.service("x"), []microruntime.CreateOption{microruntime.CreateImage("evil")}, "command"},
		"no variable":        {f.service("x"), []microruntime.CreateOption{microruntime.WithEnv([]string{"a b=c"})}, "env: "},
		"a file of ours":     {f.service("x"), []microruntime.CreateOption{microruntime.WithEnv([]string{"record.json=c"})}, "env: "},
	} {
		require.ErrorContains(t, f.Create(refused.resource, refused.options...), refused.want, name)
	}
	require.Equal(t, "secret/foreign\n", f.server.must(t, "-n", namespace, "get", "deployments,services,secrets", "-o", "name"))
}

// What the nodes of a cluster say of pods, said here by an operator.
func TestReadSaysWhatBecameOfIt(t *testing.T) {
	f := setup(t)
	require.NoError(t, f.Create(f.service("alpha")))
	say := func(kind, status string) {
		f.server.must(t, "-n", namespace, "patch", kind, "alpha", "--subresource=status", "--type=merge", "-p", `{"status":`+status+`}`)
	}
	var w workload
	f.server.read(t, &w, "-n", namespace, "get", "deployment", "alpha")
	var metadata object
	require.NoError(t, json.Unmarshal(w.Spec.Template.Metadata, &metadata))
	metadata["name"] = "alpha"
	text, err := json.Marshal(object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": w.Spec.Template.Spec})
	require.NoError(t, err)
	out, err := f.server.as(f.server.token, text, "-n", namespace, "create", "-f", "-")
	require.NoError(t, err, "%s", out)

	say("deployment", `{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1}`)
	say("pod", `{"phase":"Running","containerStatuses":[{"name":"main","image":"x","imageID":"x","ready":true,"restartCount":0,`+
		`"state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}}]}`)
	s := f.one(t, "alpha")
	require.Equal(t, microruntime.Running, s.Status)
	require.Equal(t, "2026-01-02T03:04:05Z", s.Metadata["started"])
	require.Equal(t, "0", s.Metadata["restarts"])
	require.Empty(t, s.Metadata["error"])

	for status, want := range map[string]string{
		`{"waiting":{"reason":"ImagePullBackOff","message":"it is not there"}}`: "it is not there",
		`{"waiting":{"reason":"CreateContainerConfigError"}}`:                   "CreateContainerConfigError",
		`{"waiting":{"reason":"CrashLoopBackOff"}}`:                             "alpha: mail: expected an address",
		`{"terminated":{"exitCode":137,"reason":"OOMKilled"}}`:                  "OOMKilled",
	} {
		say("pod", `{"phase":"Running","containerStatuses":[{"name":"main","image":"x","imageID":"x","ready":false,"restartCount":0,`+
			`"lastState":{"terminated":{"exitCode":1,"message":"started\nalpha: mail: expected an address\n"}},"state":`+status+`}]}`)
		s = f.one(t, "alpha")
		require.Equal(t, microruntime.Error, s.Status, status)
		require.Equal(t, want, s.Metadata["error"])
		require.NotEqual(t, "0", s.Metadata["restarts"])
	}

	// A change is there when Kubernetes has seen it.
	say("pod", `{"containerStatuses":[{"name":"main","image":"x","imageID":"x","ready":true,"restartCount":3,`+
		`"state":{"waiting":{"reason":"ContainerCreating"}}}]}`)
	require.NoError(t, f.Update(f.service("alpha")))
	s = f.one(t, "alpha")
	require.Equal(t, microruntime.Starting, s.Status)
	require.Equal(t, "3", s.Metadata["restarts"])

	// There is no node that has a log yet.
	lines, err := f.Logs(f.service("alpha"), microruntime.LogsStream(true))
	require.NoError(t, err)
	for range lines.Chan() {
		t.Fatal("nobody has logged anything")
	}
	require.NoError(t, lines.Error(), "the account may read logs")
	_, err = f.Logs(f.service("other"))
	require.ErrorIs(t, err, microruntime.ErrNotFound)
}

func TestRuntimeMayDoNothingElse(t *testing.T) {
	f := setup(t)
	platform := f.server.account(t, "micro", "runtime", "micro")
	c, err := newClient(platform)
	require.NoError(t, err)
	defer c.close()
	for what, err := range map[string]error{
		"read the keys":        c.get(t.Context(), secrets, keysSecret, new(object)),
		"list secrets":         c.list(t.Context(), secrets, "", new(object)),
		"make a secret":        c.createSecret(t.Context(), secret{"x", nil}),
		"list pods":            c.list(t.Context(), pods, "", new(object)),
		"change a deployment":  c.apply(t.Context(), deployments, "auth", object{"apiVersion": "apps/v1", "kind": "Deployment"}),
		"list other secrets":   f.client.list(t.Context(), secrets, "", new(object)),
		"make a pod by itself": f.client.create(t.Context(), pods, object{"apiVersion": "v1", "kind": "Pod"}),
	} {
		require.True(t, isReason(err, "Forbidden"), "%s: %v", what, err)
	}
	for _, foreign := range []string{"micro", "secrets"} {
		config := f.config
		config.Cluster = f.server.account(t, "micro", foreign, namespace)
		r, err := New(config)
		require.NoError(t, err)
		require.True(t, isReason(r.Create(f.service("alpha")), "Forbidden"))
		_, err = r.Read()
		require.True(t, isReason(err, "Forbidden"))
		require.NoError(t, r.Stop())
	}
}
