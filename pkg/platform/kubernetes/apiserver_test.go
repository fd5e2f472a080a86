//go:build kubernetes

package kubernetes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// programs is where `make test-kubernetes` builds kube-apiserver and kubectl.
const programs = "../../../bin/kubernetes"

// apiServer is a real API server of Kubernetes on a real etcd. No controller and no node is there: Deployments make no pods.
type apiServer struct {
	address, authority, token string
}

// shared is started once: it takes seconds. Tests use namespaces of their own, or only read what all have applied.
var shared struct {
	once   sync.Once
	server *apiServer
	err    error
	dir    string
}

// cluster returns the server with the manifests applied.
func cluster(t *testing.T) *apiServer {
	t.Helper()
	shared.once.Do(func() {
		if shared.server, shared.err = startAPIServer(context.Background()); shared.err == nil {
			var out []byte
			out, shared.err = shared.server.kubectl("apply", "--server-side", "--validate=strict", "-k", "manifests/try")
			if shared.err != nil {
				shared.err = fmt.Errorf("apply the manifests: %w\n%s", shared.err, out)
			}
		}
	})
	require.NoError(t, shared.err)
	return shared.server
}

func startAPIServer(ctx context.Context) (_ *apiServer, err error) {
	program := filepath.Join(programs, "kube-apiserver")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s is missing: run `make test-kubernetes`, which builds it", program)
	}
	dir, err := os.MkdirTemp("", "kubernetes-*")
	if err != nil {
		return nil, err
	}
	shared.dir = dir
	atEnd(func() error { return os.RemoveAll(dir) })
	etcd, err := engine.Etcd(ctx, engine.Config{Dir: filepath.Join(dir, "etcd")})
	if err != nil {
		return nil, err
	}
	atEnd(etcd.Stop)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	keyFile, tokens := filepath.Join(dir, "accounts.key"), filepath.Join(dir, "tokens.csv")
	s := &apiServer{authority: filepath.Join(dir, "certs", "apiserver.crt"), token: rand.Text()}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(tokens, []byte(s.token+`,operator,operator,"system:masters"`+"\n"), 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return nil, err
	}
	s.address = fmt.Sprintf("https://127.0.0.1:%d", port)
	server := exec.Command(program,
		"--etcd-servers=http://"+etcd.Host(), "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port),
		"--cert-dir="+filepath.Join(dir, "certs"), "--service-cluster-ip-range=10.0.0.0/16",
		"--authorization-mode=RBAC", "--token-auth-file="+tokens, "--anonymous-auth=false",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+keyFile,
		"--service-account-signing-key-file="+keyFile,
	)
	log := new(bytes.Buffer)
	server.Stderr = log
	if err := supervisor.StartTied(server); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	atEnd(func() error {
		// It waits a minute for those who watch; nobody needs it to.
		_ = server.Process.Signal(syscall.SIGKILL) // it may have ended
		<-ended
		return nil
	})

	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = launch.Poll(starting, func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("kube-apiserver ended:\n%s", log)
		default:
		}
		out, err := s.kubectl("get", "--raw", "/readyz")
		return err == nil && string(out) == "ok", nil
	})
	return s, err
}

// kubectl runs it as an operator who may do everything.
func (s *apiServer) kubectl(args ...string) ([]byte, error) { return s.as(s.token, nil, args...) }

// as runs kubectl with a token, and something on its standard input.
func (s *apiServer) as(token string, input []byte, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(programs, "kubectl"), append([]string{
		"--server=" + s.address, "--certificate-authority=" + s.authority, "--token=" + token, "--kubeconfig=/dev/null",
		"--cache-dir=" + filepath.Join(shared.dir, "cache"),
	}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	return cmd.CombinedOutput()
}

// must runs kubectl as an operator and returns what it prints.
func (s *apiServer) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.kubectl(args...)
	require.NoError(t, err, "%s", out)
	return string(out)
}

// read reads an object as JSON.
func (s *apiServer) read(t *testing.T, into any, args ...string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(s.must(t, append(args, "-o", "json")...)), into))
}

// account is the cluster as a ServiceAccount of a namespace sees it, with a token as its pods get.
func (s *apiServer) account(t *testing.T, namespace, name, within string) Cluster {
	t.Helper()
	token := s.must(t, "-n", namespace, "create", "token", name)
	return Cluster{
		Address: s.address, Authority: s.authority, Namespace: within,
		Token: func() (string, error) { return string(bytes.TrimSpace([]byte(token))), nil },
	}
}
