package kubernetes

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/runtime"
)

// standIn is a runtime on a server that stands in for Kubernetes: there is no node, and so no log, beside the real one.
func standIn(t *testing.T, handle http.HandlerFunc) *Runtime {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(authority, text, 0o600))
	var tokens atomic.Int64
	r, err := New(Config{
		Cluster: Cluster{
			Address: server.URL, Authority: authority, Namespace: "here",
			Token: func() (string, error) { return fmt.Sprint("token-", tokens.Add(1)), nil },
		},
		Image: "x", Binaries: NewBlobs(newMemory(), anything), Env: func(bool) []string { return nil },
		Credentials: func(string, string, bool) runtime.Credentials { return runtime.Credentials{} },
		Verify:      func() ([]byte, error) { return nil, nil },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Stop()) })
	return r
}

func TestLogs(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	r := standIn(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/api/v1/namespaces/here/pods":
			if req.URL.Query().Get("labelSelector") != "app.kubernetes.io/managed-by=micro-runtime,app.kubernetes.io/name=alpha" {
				http.Error(w, `{"reason":"BadRequest"}`, http.StatusBadRequest)
				return
			}
			_ = json.NewEncoder(w).Encode(object{"items": []object{{"metadata": object{"name": "a"}}, {"metadata": object{"name": "b"}}}})
		case "/api/v1/namespaces/here/pods/a/log", "/api/v1/namespaces/here/pods/b/log":
			pod := strings.Split(req.URL.Path, "/")[6]
			_, _ = fmt.Fprintf(w, "%s first\n%s %s", pod, pod, req.URL.Query().Get("tailLines")) // the client sees what is missing
			if req.URL.Query().Get("follow") == "true" {
				_, _ = fmt.Fprintln(w)
				w.(http.Flusher).Flush()
				<-req.Context().Done()
				stopped <- struct{}{}
			}
		}
	})
	alpha := &microruntime.Service{Name: "alpha"}
	lines, err := r.Logs(alpha, microruntime.LogsCount(7))
	require.NoError(t, err)
	got := make(map[string][]string)
	for line := range lines.Chan() {
		got[line.Metadata["pod"]] = append(got[line.Metadata["pod"]], line.Message)
	}
	require.NoError(t, lines.Error())
	require.Equal(t, map[string][]string{"a": {"a first", "a 7"}, "b": {"b first", "b 7"}}, got)

	lines, err = r.Logs(alpha, microruntime.LogsStream(true))
	require.NoError(t, err)
	for range 3 {
		<-lines.Chan()
	}
	require.NoError(t, lines.Stop(), "in the middle")
	for range lines.Chan() {
	}
	require.NoError(t, lines.Error())
	for range 2 {
		<-stopped
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	answers, tokens := make(chan string, 1), make(chan string, 1)
	r := standIn(t, func(w http.ResponseWriter, req *http.Request) {
		tokens <- req.Header.Get("Authorization")
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(<-answers)) // the client sees what is missing
	})
	for i, c := range []struct{ answer, want string }{
		{`{"kind":"Status","reason":"AlreadyExists","message":"it is there","code":409}`, "kubernetes: it is there"},
		{"<html>a proxy", "kubernetes: Conflict"},
		{"", "kubernetes: Conflict"},
	} {
		answers <- c.answer
		err := r.client.get(t.Context(), secrets, "x", new(object))
		require.EqualError(t, err, c.want)
		require.Equal(t, strings.Contains(c.answer, "AlreadyExists"), isReason(err, "AlreadyExists"))
		require.Equal(t, fmt.Sprintf("Bearer token-%d", i+1), <-tokens, "Kubernetes replaces them")
	}

	_, err := ClusterOfPod("x")
	require.ErrorContains(t, err, "KUBERNETES_SERVICE_HOST")
	_, err = New(Config{})
	require.Error(t, err)
}

func TestCommand(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, args := range []string{"", "secrets now", "start", "start binary://x", "start binary://x y", "stop"} {
		require.EqualError(t, Command(t.Context(), strings.Fields(args)), usage, args)
	}
	require.ErrorContains(t, Command(t.Context(), []string{"secrets"}), "this is for a pod")
	require.ErrorContains(t, Command(t.Context(), strings.Fields("start binary://x --")), "expected the reference")
}

// Whatever names a file of the runtime's own pod, or has the password of its role, is not for others.
func TestServicesGetWhatTheyNeedOfTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"MICRO_SERVERS": "%s.micro.svc:8000", "MICRO_PROXY": "proxy.micro.svc:8000", "PGSSLMODE": "verify-full",
		"MICRO_LOG_LEVEL": "debug",
		"PGPASSFILE":      "must not", "PGPASSWORD": "must not", "HOME": "must not", "MICRO_RUNTIME_CREDENTIALS": "must not",
		"MICRO_AUTH_SECRET": "must not", "MICRO_POSTGRES_ADDRESS": "must not", "MICRO_IMAGE": "must not",
	} {
		t.Setenv(name, value)
	}
	ours := strings.Join(serviceEnv(false), "\n")
	for _, want := range []string{
		"MICRO_SERVERS=%s.micro.svc:8000", "MICRO_PROXY=proxy.micro.svc:8000", "PGSSLMODE=verify-full", "MICRO_LOG_LEVEL=debug",
	} {
		require.Contains(t, ours, want)
	}
	require.NotContains(t, ours, "must not")
	require.NotContains(t, strings.Join(serviceEnv(true), "\n"), "PGSSLMODE")
}
