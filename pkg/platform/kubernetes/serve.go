package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pb "github.com/micro/micro/v3/proto/runtime"
	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/store"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/kubernetes/static"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service"
)

// The environment variables of the core service "runtime" in a cluster.
const (
	// ImageEnv is the image of the platform's binary, from which services are started. Where it is set, services are run on
	// Kubernetes, and nowhere else.
	ImageEnv = "MICRO_IMAGE"
	// NamespaceEnv is the namespace that services run in. (MICRO_NAMESPACE is Micro's, and another sort of namespace.)
	NamespaceEnv = "MICRO_SERVICES_NAMESPACE"
)

// IsWanted tells whether services are to be run on Kubernetes.
func IsWanted() bool { return os.Getenv(ImageEnv) != "" }

// Serve runs the core service "runtime" in a pod.
func Serve(*cli.Context) error {
	namespace := os.Getenv(NamespaceEnv)
	if namespace == "" {
		return fmt.Errorf("%s: expected the namespace that services run in, which is not the platform's", NamespaceEnv)
	}
	cluster, err := ClusterOfPod(namespace)
	if err != nil {
		return err
	}
	issuer, err := token.ParseServices(os.Getenv(runtime.CredentialsEnv))
	if err != nil {
		return fmt.Errorf("%s: %w", runtime.CredentialsEnv, err)
	}
	srv := service.Core("runtime")
	profile.Observe(srv)
	blobs := NewBlobs(store.DefaultBlobStore, static.Check)
	r, err := New(Config{
		Cluster: cluster, Image: os.Getenv(ImageEnv), Binaries: blobs, Env: serviceEnv,
		Credentials: func(service, version string, sold bool) runtime.Credentials {
			return runtime.Issue(issuer, service, version, sold)
		},
		TLS:    os.Getenv(state.TLSEnv),
		Verify: func() ([]byte, error) { return os.ReadFile(filepath.Join(state.Keys(), verifyKey)) },
	})
	if err != nil {
		return err
	}
	microruntime.DefaultRuntime = r
	if err := errors.Join(
		runtime.Register(srv.Server(), r, blobs), pb.RegisterBuildHandler(srv.Server(), build{r.read, blobs}),
	); err != nil {
		return err
	}
	return errors.Join(srv.Run(), r.Stop())
}

// ofPod are variables that are passed on to services of one machine, and that mean something else, or nothing, in another
// pod: they name files, or have the password of the platform's own role.
var ofPod = []string{
	"PATH", "HOME", "TMPDIR", "PGPASSFILE", "PGPASSWORD", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY",
}

// serviceEnv is the environment of every service: where the platform is, and what services on one machine get as well.
func serviceEnv(sold bool) []string {
	env := []string{"MICRO_REPORT_USAGE=false"}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == state.ServersEnv || name == "MICRO_PROXY" || runtime.IsPassedOn(name, !sold) && !slices.Contains(ofPod, name) {
			env = append(env, v)
		}
	}
	return env
}

// usage is what Command takes.
const usage = "expected: micro kubernetes secrets, or micro kubernetes start binary://SHA-256 -- ARGUMENTS"

// Command runs `micro kubernetes`, what the pods of the manifests run instead of a service or before they become one. It asks
// Kubernetes or the platform, and nothing of Micro is set up for it.
func Command(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "secrets":
		cluster, err := ClusterOfPod("")
		if err != nil {
			return err
		}
		made, err := CreateSecrets(ctx, cluster)
		fmt.Fprintf(os.Stderr, "%d Secrets were made, all others were there: %s\n", len(made), strings.Join(made, ", "))
		return err
	case len(args) >= 3 && args[0] == "start" && args[2] == "--":
		return start(ctx, args[1], args[3:])
	}
	return errors.New(usage)
}
