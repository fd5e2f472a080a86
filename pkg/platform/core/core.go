// Package core runs the platform's own services: Micro's handlers, on a server that lets nobody through but by policy. Each
// of them is a process, because everything that Micro keeps lives in globals.
package core

import (
	"errors"
	"fmt"
	"os"

	brokerpb "github.com/micro/micro/v3/proto/broker"
	configpb "github.com/micro/micro/v3/proto/config"
	registrypb "github.com/micro/micro/v3/proto/registry"
	storepb "github.com/micro/micro/v3/proto/store"
	microservice "github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/broker"
	brokerhandler "github.com/micro/micro/v3/service/broker/handler"
	confighandler "github.com/micro/micro/v3/service/config/handler"
	registryhandler "github.com/micro/micro/v3/service/registry/handler"
	"github.com/micro/micro/v3/service/store"
	storehandler "github.com/micro/micro/v3/service/store/handler"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/service"
)

// Action returns the command that runs a core service; nil for one that has a package of its own or that there is not.
func Action(name string) cli.ActionFunc {
	register, ok := services[name]
	if !ok {
		return nil
	}
	return func(*cli.Context) error {
		srv := service.Core(name)
		profile.Observe(srv)
		if err := register(srv); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return srv.Run()
	}
}

// services are the core services, each with what registers its handlers.
var services = map[string]func(*service.Service) error{
	"registry": func(srv *service.Service) error {
		r := newRegistration(&registryhandler.Registry{
			ID:    srv.Server().Options().Id,
			Event: microservice.NewEvent("registry.events"),
		})
		srv.OnStopping(r.end)
		return registrypb.RegisterRegistryHandler(srv.Server(), r)
	},
	"broker": func(srv *service.Service) error {
		return errors.Join(
			broker.DefaultBroker.Connect(),
			brokerpb.RegisterBrokerHandler(srv.Server(), new(brokerhandler.Broker)),
		)
	},
	"store": func(srv *service.Service) error {
		return errors.Join(
			storepb.RegisterStoreHandler(srv.Server(), records{&storehandler.Store{Stores: make(map[string]bool)}}),
			storepb.RegisterBlobStoreHandler(srv.Server(), new(storehandler.BlobStore)),
		)
	},
	"config": func(srv *service.Service) error {
		return errors.Join(
			store.DefaultStore.Init(store.Table("config")),
			// The flag of that name was read before the profile had made the key.
			configpb.RegisterConfigHandler(srv.Server(), newConfiguration(confighandler.NewConfig(os.Getenv("MICRO_CONFIG_SECRET_KEY")))),
		)
	},
	"auth":   serveAuth,
	"events": serveEvents,
}
