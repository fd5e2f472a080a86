package direct_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pbregistry "github.com/micro/micro/v3/proto/registry"
	microservice "github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/auth"
	membroker "github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/registry"
	registryclient "github.com/micro/micro/v3/service/registry/client"
	"github.com/micro/micro/v3/service/registry/handler"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/micro/micro/v3/util/auth/namespace"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
)

// The test binary is a registry or a node as well, so that there is something to kill.
const (
	roleEnv     = "DIRECT_TEST_ROLE"
	registryEnv = "DIRECT_TEST_REGISTRY" // where the registry is or is to be
	nodeEnv     = "DIRECT_TEST_NODE"     // what the node calls itself

	serviceName = "counter"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		// Micro's packages start something when they are loaded, and its registry in memory cannot be closed.
		goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
			goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/registry/memory.(*Registry).ttlPrune"),
			goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/router/registry.(*table).Watch.func1"))
	}
	os.Args = os.Args[:1] // Micro would read the flags of the test
	var err error
	switch role {
	case "registry":
		err = runRegistry(os.Getenv(registryEnv))
	case "node":
		err = runNode(os.Getenv(nodeEnv), os.Getenv(registryEnv))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runRegistry is Micro's registry service with its memory.
func runRegistry(address string) error {
	registry.DefaultRegistry = memregistry.NewRegistry()
	s := grpcserver.NewServer(server.Name("registry"), server.Address(address), server.Broker(membroker.NewBroker()),
		server.Registry(memregistry.NewRegistry()), server.WrapHandler(asPlatform))
	h := &handler.Registry{ID: "test", Event: microservice.NewEvent("registry.events")}
	if err := pbregistry.RegisterRegistryHandler(s, h); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "serves at", s.Options().Address)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return s.Stop()
}

// asPlatform stands for Micro's auth, which the registry's handlers ask for an account.
func asPlatform(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		return next(auth.ContextWithAccount(ctx, &auth.Account{
			ID: "test", Issuer: namespace.DefaultNamespace, Type: "service", Scopes: []string{"service"},
		}), req, rsp)
	}
}

// runNode is a service as any other, but for where its registry is.
func runNode(name, registryAddress string) error {
	srv := service.New(serviceName)
	if err := srv.Server().Init(server.Registry(registryclient.NewRegistry(registry.Addrs(registryAddress)))); err != nil {
		return err
	}
	if err := pb.RegisterCounterHandler(srv.Server(), &counter{node: name}); err != nil {
		return err
	}
	return srv.Run()
}

// process is a child.
type process struct {
	*exec.Cmd
	address string
	ended   chan struct{}
}

// start starts a child and waits until it serves.
func start(t *testing.T, role string, env ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]), ended: make(chan struct{})}
	p.Env = append(os.Environ(), append(env, roleEnv+"="+role, "MICRO_PROFILE=test",
		"MICRO_STATE="+filepath.Join(t.TempDir(), "state"))...)
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	served := make(chan string, 1)
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if _, address, ok := strings.Cut(s.Text(), "serves at "); ok {
				address, _, _ = strings.Cut(address, " ")
				served <- address
			}
		}
		_ = p.Wait() // killed, as a rule
	}()
	t.Cleanup(func() { p.kill(t) })
	select {
	case p.address = <-served:
	case <-p.ended:
		require.Fail(t, "the "+role+" has ended")
	case <-time.After(30 * time.Second):
		require.Fail(t, "the "+role+" does not serve")
	}
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.Process.Kill() // it may have ended
	<-p.ended
}

// stop asks the child to end and waits until it has.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	<-p.ended
}

// startNode starts a node that registers at a registry.
func startNode(t *testing.T, name string, registry *process) *process {
	t.Helper()
	return start(t, "node", nodeEnv+"="+name, registryEnv+"="+registry.address)
}

// startRegistry starts a registry, at any address or at a given one.
func startRegistry(t *testing.T, address string) *process {
	t.Helper()
	return start(t, "registry", registryEnv+"="+address)
}

// clientOf returns a client that looks services up in a registry.
func clientOf(t *testing.T, registry *process, config direct.Config) *direct.Client {
	t.Helper()
	config.Fixed = map[string]string{"registry": registry.address}
	c := direct.New(config)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}
