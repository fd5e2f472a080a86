// Package embedded is the profile that needs no outside server: the registry and the broker live in the memory of their
// core services, events and stores are files below the state directory, and services are processes of this machine.
package embedded

import (
	"errors"
	"fmt"
	"sync"

	"github.com/micro/micro/v3/profile"
	"github.com/micro/micro/v3/service/auth"
	memorybroker "github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/config"
	storeconfig "github.com/micro/micro/v3/service/config/store"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/model"
	"github.com/micro/micro/v3/service/registry"
	memoryregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/service/store/file"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/core"
	"github.com/m3o/backend/pkg/platform/state"
)

// Name is the profile's name, for MICRO_PROFILE.
const Name = "embedded"

// Register makes the profile known to Micro.
func Register() error {
	var once sync.Once
	return profile.Register(Name, &profile.Profile{
		Name: Name,
		Setup: func(ctx *cli.Context) error {
			// Micro calls it twice and ignores what it returns.
			once.Do(func() {
				if err := setup(ctx); err != nil {
					logger.Fatalf("The embedded profile cannot be set up: %v", err)
				}
			})
			return nil
		},
	})
}

// coreService returns which core service this process is: "auth" for `micro service auth`; empty for anything else.
func coreService(ctx *cli.Context) string {
	if ctx.Args().First() != "service" {
		return ""
	}
	return ctx.Args().Get(1)
}

func setup(ctx *cli.Context) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	name := coreService(ctx)

	if auth.DefaultAuth, err = core.Auth(name, auth.DefaultAuth); err != nil {
		return err
	}
	store.DefaultStore = file.NewStore()
	files, err := file.NewBlobStore()
	if err != nil {
		return fmt.Errorf("open the blob store: %w", err)
	}
	store.DefaultBlobStore = blobs{files}
	model.DefaultModel = model.NewModel(model.WithStore(store.DefaultStore))
	if name == "config" { // nobody else has a use for the key
		profile.SetupConfigSecretKey(ctx)
	}
	if config.DefaultConfig, err = storeconfig.NewConfig(store.DefaultStore, ""); err != nil {
		return fmt.Errorf("open the config: %w", err)
	}

	// Nobody can look the auth service up in the registry before they are logged in.
	auth.DefaultAuth.Init(auth.Addrs(addresses.Of("auth")))

	// The registry and the broker are each one process's memory; every other process calls that one, the broker with the
	// client that pkg/service makes.
	if name == "registry" {
		profile.SetupRegistry(memoryregistry.NewRegistry())
	} else {
		if err := registry.DefaultRegistry.Init(registry.Addrs(addresses.Of("registry"))); err != nil {
			return fmt.Errorf("set up the registry: %w", err)
		}
		profile.SetupRegistry(registry.DefaultRegistry)
	}
	if name == "broker" {
		profile.SetupBroker(memorybroker.NewBroker())
	}
	return nil
}

// blobs is Micro's blob store, for which a namespace that nobody has written to yet is an error.
type blobs struct{ store.BlobStore }

// List lists the keys of a namespace, none for one that is empty.
func (b blobs) List(opts ...store.BlobListOption) ([]string, error) {
	keys, err := b.BlobStore.List(opts...)
	if errors.Is(err, store.ErrNotFound) {
		return []string{}, nil
	}
	return keys, err
}
