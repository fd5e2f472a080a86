//go:build kubernetes

package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/runtime"
)

// make makes a namespace with what the manifests have for secrets in it.
func (s *apiServer) make(t *testing.T, name string) {
	t.Helper()
	s.must(t, "create", "namespace", name)
	for _, kind := range []string{"serviceaccount", "role", "rolebinding"} {
		var o map[string]any
		s.read(t, &o, "-n", "micro", "get", kind, "secrets")
		o["metadata"] = map[string]any{"name": "secrets", "namespace": name}
		if kind == "rolebinding" {
			o["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "name": "secrets", "namespace": name}}
		}
		text, err := json.Marshal(o)
		require.NoError(t, err)
		out, err := s.as(s.token, text, "apply", "-f", "-")
		require.NoError(t, err, "%s", out)
	}
}

// data is the Secrets of a namespace.
func (s *apiServer) data(t *testing.T, namespace string) map[string]map[string][]byte {
	t.Helper()
	var found struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string][]byte
		}
	}
	s.read(t, &found, "-n", namespace, "get", "secrets")
	all := make(map[string]map[string][]byte)
	for _, o := range found.Items {
		all[o.Metadata.Name] = o.Data
	}
	return all
}

func TestSecretsAreMadeOnce(t *testing.T) {
	s := cluster(t)
	s.make(t, "once")
	job := s.account(t, "once", "secrets", "once")
	made, err := CreateSecrets(t.Context(), job)
	require.NoError(t, err)
	first := s.data(t, "once")
	require.Len(t, first, len(made))

	again, err := CreateSecrets(t.Context(), job)
	require.NoError(t, err)
	require.Empty(t, again)
	require.Equal(t, first, s.data(t, "once"))

	// One that was killed, or lost one, has the rest from the same keys; what is random is made anew.
	for _, name := range []string{issuerSecret, verifySecret, credentialsPrefix + "usage", adminSecret} {
		s.must(t, "-n", "once", "delete", "secret", name)
	}
	again, err = CreateSecrets(t.Context(), job)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{issuerSecret, verifySecret, credentialsPrefix + "usage", adminSecret}, again)
	mended := s.data(t, "once")
	require.NotEqual(t, first[adminSecret], mended[adminSecret])
	mended[adminSecret] = first[adminSecret]
	require.Equal(t, first, mended)

	// What they are for: processes log in with them, tokens are signed and checked.
	dir := t.TempDir()
	for name, text := range first[keysSecret] {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o400))
	}
	root, err := token.LoadRoot(dir)
	require.NoError(t, err)
	for _, name := range slices.Concat(Parts, Services) {
		given := first[credentialsPrefix+name]
		account, err := root.Account(string(given["MICRO_AUTH_ID"]), string(given["MICRO_AUTH_SECRET"]))
		require.NoError(t, err, name)
		signer, err := token.OpenSigner(dir)
		require.NoError(t, err)
		text, _, err := signer.Sign(account, "", time.Minute)
		require.NoError(t, err)
		elsewhere := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "verify.json"), first[verifySecret]["verify.json"], 0o400))
		verifier, err := token.OpenVerifier(elsewhere)
		require.NoError(t, err)
		_, _, err = verifier.Inspect(text)
		require.NoError(t, err)
	}
	issuer, err := token.ParseServices(string(first[issuerSecret][runtime.CredentialsEnv]))
	require.NoError(t, err)
	require.Equal(t, root.Services(), issuer)
}

func TestSecretsAtOnce(t *testing.T) {
	s := cluster(t)
	s.make(t, "at-once")
	job := s.account(t, "at-once", "secrets", "at-once")
	made := make(chan []string, 4)
	failed := make(chan error, cap(made))
	for range cap(made) {
		go func() {
			names, err := CreateSecrets(t.Context(), job)
			made <- names
			failed <- err
		}()
	}
	var all []string
	for range cap(made) {
		all = append(all, <-made...)
		require.NoError(t, <-failed)
	}
	require.Len(t, all, len(s.data(t, "at-once")), "each was made by one of them")
	verify := s.data(t, "at-once")
	require.Equal(t, verify[keysSecret]["verify.json"], verify[verifySecret]["verify.json"])
}

func TestSecretsAreForTheJobAlone(t *testing.T) {
	s := cluster(t)
	s.make(t, "alone")
	s.must(t, "-n", "alone", "create", "serviceaccount", "foreign")
	for name, who := range map[string]Cluster{
		"another account of the namespace": s.account(t, "alone", "foreign", "alone"),
		"the same of another namespace":    s.account(t, "micro", "secrets", "alone"),
		"the runtime":                      s.account(t, "micro", "runtime", "alone"),
	} {
		_, err := CreateSecrets(t.Context(), who)
		require.True(t, isReason(err, "Forbidden"), "%s: %v", name, err)
	}
	require.Empty(t, s.data(t, "alone"))

	// The job itself reads the keys and nothing else, and changes nothing.
	job := s.account(t, "alone", "secrets", "alone")
	_, err := CreateSecrets(t.Context(), job)
	require.NoError(t, err)
	c, err := newClient(job)
	require.NoError(t, err)
	defer c.close()
	require.NoError(t, c.get(t.Context(), secrets, keysSecret, new(object)))
	for what, err := range map[string]error{
		"read the admin's":   c.get(t.Context(), secrets, adminSecret, new(object)),
		"list":               c.list(t.Context(), secrets, "", new(object)),
		"change":             c.apply(t.Context(), secrets, adminSecret, object{"apiVersion": "v1", "kind": "Secret"}),
		"delete":             c.remove(t.Context(), secrets, keysSecret),
		"start pods":         c.create(t.Context(), deployments, object{}),
		"read other objects": c.list(t.Context(), pods, "", new(object)),
	} {
		require.True(t, isReason(err, "Forbidden"), "%s: %v", what, err)
	}
}
