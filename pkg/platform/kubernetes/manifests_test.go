//go:build kubernetes

package kubernetes

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// workload is a Deployment, StatefulSet or Job.
type workload struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		Template struct {
			Metadata json.RawMessage
			Spec     map[string]any
		}
	}
}

// workloads are those of the manifests, as the server has stored them.
func (s *apiServer) workloads(t *testing.T) []workload {
	t.Helper()
	var found struct{ Items []workload }
	s.read(t, &found, "-n", "micro", "get", "deployments,statefulsets,jobs")
	require.Len(t, found.Items, len(Parts)+len(Services)+len([]string{"secrets", "etcd", "redis", "postgres"}))
	return found.Items
}

// asPod makes the pod of a workload that a controller would make, on the server and for nothing: a dry run goes through
// admission, Pod Security among it.
func (s *apiServer) asPod(t *testing.T, w workload) error {
	t.Helper()
	var metadata object
	require.NoError(t, json.Unmarshal(w.Spec.Template.Metadata, &metadata))
	metadata["name"] = w.Metadata.Name
	c, err := newClient(Cluster{
		Address: s.address, Authority: s.authority, Namespace: w.Metadata.Namespace,
		Token: func() (string, error) { return s.token, nil },
	})
	require.NoError(t, err)
	defer c.close()
	return c.do(t.Context(), http.MethodPost, c.path(pods)+"?dryRun=All&fieldValidation=Strict", "application/json",
		object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": w.Spec.Template.Spec}, nil)
}

func TestPodsAreLetIn(t *testing.T) {
	s := cluster(t)
	for _, w := range s.workloads(t) {
		// A claim's volume is what the controller adds.
		if w.Kind == "StatefulSet" {
			volumes, _ := w.Spec.Template.Spec["volumes"].([]any)
			claim := map[string]any{"persistentVolumeClaim": map[string]any{"claimName": "x"}, "name": "data"}
			if w.Metadata.Name == "api" {
				claim["name"] = "state"
			}
			w.Spec.Template.Spec["volumes"] = append(volumes, claim)
		}
		require.NoError(t, s.asPod(t, w), w.Metadata.Name)

		for what, change := range map[string]func(spec, container map[string]any){
			"root":         func(spec, _ map[string]any) { spec["securityContext"].(map[string]any)["runAsNonRoot"] = false },
			"no seccomp":   func(spec, _ map[string]any) { delete(spec["securityContext"].(map[string]any), "seccompProfile") },
			"host network": func(spec, _ map[string]any) { spec["hostNetwork"] = true },
			"capabilities": func(_, c map[string]any) { delete(c["securityContext"].(map[string]any), "capabilities") },
			"privileged":   func(_, c map[string]any) { c["securityContext"].(map[string]any)["privileged"] = true },
		} {
			broken := clone(t, w)
			change(broken.Spec.Template.Spec, broken.Spec.Template.Spec["containers"].([]any)[0].(map[string]any))
			err := s.asPod(t, broken)
			require.Error(t, err, "%s, %s: the namespace does not refuse it", w.Metadata.Name, what)
			require.Regexp(t, `violates PodSecurity "restricted|allowPrivilegeEscalation`, err.Error(), what)
		}
	}
}

func clone(t *testing.T, w workload) workload {
	t.Helper()
	text, err := json.Marshal(w)
	require.NoError(t, err)
	var c workload
	require.NoError(t, json.Unmarshal(text, &c))
	return c
}

// Who mounts what: the keys that sign, and the key of keys, are the auth service's alone.
func TestWhoKnowsWhat(t *testing.T) {
	s := cluster(t)
	known := make(map[string][]string)
	for _, w := range s.workloads(t) {
		for _, name := range secretsOf(t, w) {
			known[name] = append(known[name], w.Metadata.Name)
		}
		mounted, _ := w.Spec.Template.Spec["automountServiceAccountToken"].(bool)
		require.Equal(t, w.Metadata.Name == "runtime" || w.Metadata.Name == "secrets", mounted, w.Metadata.Name)
	}
	all := slices.Concat(Parts, Services)
	want := map[string][]string{
		keysSecret: {"auth"}, adminSecret: {"auth"}, configSecret: {"config"}, issuerSecret: {"runtime"},
		redisSecret: {"broker", "events", "redis"}, postgresPrefix + "postgres": {"postgres"},
		postgresPrefix + "micro": {"auth", "config", "postgres", "runtime", "store"},
	}
	for _, name := range all {
		want[credentialsPrefix+name] = []string{name}
		if name != "auth" {
			want[verifySecret] = append(want[verifySecret], name)
		}
	}
	for _, name := range Services {
		want[postgresPrefix+name] = []string{name, "postgres"}
	}
	for _, m := range []map[string][]string{known, want} {
		for _, names := range m {
			slices.Sort(names)
		}
	}
	require.Equal(t, want, known)
}

// secretsOf are the names of the Secrets that a pod uses in any way.
func secretsOf(t *testing.T, w workload) []string {
	t.Helper()
	var names []string
	var look func(key string, v any)
	look = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if name, ok := v["secretName"].(string); ok {
				names = append(names, name)
			}
			if name, ok := v["name"].(string); ok && strings.HasPrefix(key, "secret") {
				names = append(names, name)
			}
			for k, inner := range v {
				look(k, inner)
			}
		case []any:
			for _, inner := range v {
				look(key, inner)
			}
		}
	}
	look("", w.Spec.Template.Spec)
	slices.Sort(names)
	return slices.Compact(names)
}

// Where two at once are not safe there are never two, not even while one takes over from another.
func TestWhoIsAlone(t *testing.T) {
	s := cluster(t)
	for _, name := range []string{"auth", "config", "runtime"} {
		out := s.must(t, "-n", "micro", "get", "deployment", name, "-o", "jsonpath={.spec.replicas} {.spec.strategy.type}")
		require.Equal(t, "1 Recreate", out, name)
	}
}

// Every Service and PodDisruptionBudget has pods, and every one of the platform's pods has both.
func TestEverythingIsSelected(t *testing.T) {
	s := cluster(t)
	names := func(kind string) []string {
		var found struct {
			Items []struct {
				Spec struct{ Selector map[string]any }
			}
		}
		s.read(t, &found, "-n", "micro", "get", kind)
		var all []string
		for _, o := range found.Items {
			selector := o.Spec.Selector
			if labels, ok := selector["matchLabels"].(map[string]any); ok {
				selector = labels
			}
			name, _ := selector[nameKey].(string)
			all = append(all, name)
		}
		slices.Sort(all)
		return all
	}
	var want []string
	for _, w := range s.workloads(t) {
		if w.Kind != "Job" {
			want = append(want, w.Metadata.Name)
		}
	}
	slices.Sort(want)
	require.Equal(t, want, names("services"))
	require.Equal(t, want, names("poddisruptionbudgets"))
}
