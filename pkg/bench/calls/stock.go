package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	pbauth "github.com/micro/micro/v3/proto/auth"
	pbregistry "github.com/micro/micro/v3/proto/registry"
	microservice "github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/auth"
	authhandler "github.com/micro/micro/v3/service/auth/handler"
	membroker "github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/proxy"
	grpcproxy "github.com/micro/micro/v3/service/proxy/grpc"
	"github.com/micro/micro/v3/service/registry"
	registryclient "github.com/micro/micro/v3/service/registry/client"
	registryhandler "github.com/micro/micro/v3/service/registry/handler"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/router"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/micro/micro/v3/service/store"
	memstore "github.com/micro/micro/v3/service/store/memory"
	"github.com/micro/micro/v3/util/auth/namespace"
	"github.com/micro/micro/v3/util/muxer"

	"github.com/m3o/backend/pkg/bench/process"
	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/state"
)

const (
	privateKeyEnv = "MICRO_AUTH_PRIVATE_KEY"
	registryEnv   = "MICRO_REGISTRY_ADDRESS"
	keyEnv        = "BENCH_CALLS_KEY" // the public key of Micro's tokens
)

// startStock starts a stock platform with its service, and returns the caller. Its registry and auth services are Micro's
// handlers without the wrappers, which makes them faster than stock. Its services know no key, as those of `micro run`.
func startStock(ps *process.Group, ids *identities) (*process.Process, error) {
	reg, err := ps.Serve("stock-registry")
	if err != nil {
		return nil, err
	}
	env := []string{
		"MICRO_PROFILE=service", "MICRO_SERVICES_NAMESPACE=" + namespace.DefaultNamespace, registryEnv + "=" + reg.Address,
		"MICRO_AUTH_ID=trusted-latest", "MICRO_AUTH_SECRET=" + ids.token,
	}
	keys := []string{privateKeyEnv + "=" + ids.private, "MICRO_AUTH_PUBLIC_KEY=" + ids.public}
	if _, err := ps.Serve("stock-auth", append(keys, env...)...); err != nil {
		return nil, err
	}
	proxy, err := ps.Serve("stock-proxy", append(keys, env...)...)
	if err != nil {
		return nil, err
	}
	env = append(env, "MICRO_PROXY="+proxy.Address)
	if _, err := ps.Serve("stock-service", env...); err != nil {
		return nil, err
	}
	return ps.Start("stock-caller", "127.0.0.1:0", env...)
}

// coreServer serves a core service with Micro's server.
func coreServer(name string, reg registry.Registry, register func(server.Server) error) error {
	s := grpcserver.NewServer(server.Name(name), server.Address(os.Getenv(process.AddressEnv)),
		server.Broker(membroker.NewBroker()), server.Registry(reg), server.WrapHandler(asPlatform))
	if err := register(s); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return s.Stop()
}

// asPlatform gives the handlers the account that Micro's wrapper would find.
func asPlatform(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		return next(auth.ContextWithAccount(ctx, &auth.Account{
			ID: "bench", Issuer: namespace.DefaultNamespace, Type: "service", Scopes: []string{"service"},
		}), req, rsp)
	}
}

func runStockRegistry() error {
	registry.DefaultRegistry = memregistry.NewRegistry()
	return coreServer("registry", registry.DefaultRegistry, func(s server.Server) error {
		return pbregistry.RegisterRegistryHandler(s, &registryhandler.Registry{
			ID: "bench", Event: microservice.NewEvent("registry.events"),
		})
	})
}

func runStockAuth() error {
	store.DefaultStore = memstore.NewStore()
	reg := registryclient.NewRegistry(registry.Addrs(os.Getenv(registryEnv)))
	return coreServer("auth", reg, func(s server.Server) error {
		ids := &identities{private: os.Getenv(privateKeyEnv), public: os.Getenv(keyEnv)}
		if err := pbauth.RegisterAuthHandler(s, &authhandler.Auth{TokenProvider: ids.provider(), DisableAdmin: true}); err != nil {
			return err
		}
		return pbauth.RegisterRulesHandler(s, new(authhandler.Rules))
	})
}

// setUpStock does what has to happen before Micro's packages look at their environment.
func setUpStock() error {
	if err := state.Use(os.Getenv("MICRO_STATE")); err != nil {
		return err
	}
	return os.Setenv("MICRO_SERVICE_ADDRESS", os.Getenv(process.AddressEnv))
}

func runStockProxy() error {
	if err := setUpStock(); err != nil {
		return err
	}
	const network = "network"
	srv := microservice.New(microservice.Name(network))
	if err := router.DefaultRouter.Init(router.Network("micro"), router.Id(srv.Server().Options().Id), router.Cache()); err != nil {
		return err
	}
	forward := grpcproxy.NewProxy(proxy.WithRouter(router.DefaultRouter), proxy.WithClient(srv.Client()))
	if err := srv.Server().Init(server.WithRouter(muxer.New(network, forward))); err != nil {
		return err
	}
	return srv.Run()
}

func runStockService() error {
	if err := setUpStock(); err != nil {
		return err
	}
	srv := microservice.New(microservice.Name(name))
	if err := pb.RegisterGuardedHandler(srv.Server(), guarded{}); err != nil {
		return err
	}
	return srv.Run()
}

func runStockCaller() error {
	if err := setUpStock(); err != nil {
		return err
	}
	microservice.New(microservice.Name("trusted"))
	return process.Obey(rpcCaller)
}
