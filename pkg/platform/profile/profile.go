// Package profile sets a process of the platform up: it decides what its registry, broker, stores and event stream are made
// of. There are two profiles. With Embedded, everything is files and memory of the platform's own processes; with Platform it
// is in etcd, Redis and PostgreSQL.
//
// A process opens only what its core service works with. Everything else it asks its core service for, as domain services do,
// which have no profile of ours at all: they do not know which one it is.
package profile

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/micro/micro/v3/profile"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/broker"
	"github.com/micro/micro/v3/service/config"
	configclient "github.com/micro/micro/v3/service/config/client"
	storeconfig "github.com/micro/micro/v3/service/config/store"
	"github.com/micro/micro/v3/service/model"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/store"
	storeclient "github.com/micro/micro/v3/service/store/client"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/platform/state"
)

// The names of the profiles, for MICRO_PROFILE.
const (
	Embedded = "embedded"
	Platform = "platform"
)

// Env is the environment variable that names the profile.
const Env = "MICRO_PROFILE"

// Current is the profile of this process: Embedded unless the environment says otherwise.
func Current() string {
	if name := os.Getenv(Env); name != "" {
		return name
	}
	return Embedded
}

// Check makes sure that the environment names one of the profiles.
func Check() error {
	if name := Current(); name != Embedded && name != Platform {
		return fmt.Errorf("%s: expected %s or %s", Env, Embedded, Platform)
	}
	return nil
}

// engines are what a profile makes a process's infrastructure of. What is nil is the core service's, and called by RPC.
type engines struct {
	registry registry.Registry
	broker   broker.Broker
	store    store.Store
	blobs    store.BlobStore
}

// Stream is an event stream as the events service keeps it.
type Stream interface {
	stream.Stream
	// Check tells whether it is well.
	Check(ctx context.Context) error
	// Failed is closed when it has given up and the process has to be started again; Err says why.
	Failed() <-chan struct{}
	Err() error
	Close() error
}

// Register makes the profiles known to Micro.
func Register() error {
	for name, open := range map[string]func(service string) (engines, error){Embedded: openEmbedded, Platform: openPlatform} {
		var once sync.Once
		err := profile.Register(name, &profile.Profile{
			Name: name,
			Setup: func(ctx *cli.Context) error {
				// Micro calls it twice and ignores what it returns.
				once.Do(func() {
					if err := setup(ctx, open); err != nil {
						fmt.Fprintln(os.Stderr, err) // the last line, where the supervisor looks for it
						os.Exit(1)
					}
				})
				return nil
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// coreService returns which core service this process is: "auth" for `micro service auth`; empty for anything else.
func coreService(ctx *cli.Context) string {
	if ctx.Args().First() != "service" {
		return ""
	}
	return ctx.Args().Get(1)
}

func setup(ctx *cli.Context, open func(string) (engines, error)) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	name := coreService(ctx)
	if auth.DefaultAuth, err = authOf(name, auth.DefaultAuth); err != nil {
		return err
	}
	e, err := open(name)
	if err != nil {
		return err
	}

	// Nobody can look the auth service up in the registry before they are logged in.
	auth.DefaultAuth.Init(auth.Addrs(addresses.Of("auth")))
	if e.registry == nil {
		if err := registry.DefaultRegistry.Init(registry.Addrs(addresses.Of("registry"))); err != nil {
			return fmt.Errorf("set up the registry: %w", err)
		}
		e.registry = registry.DefaultRegistry
	}
	profile.SetupRegistry(e.registry)
	// Whoever else has something to publish uses the client that pkg/service makes.
	if e.broker != nil {
		profile.SetupBroker(e.broker)
	}
	if name == "config" { // nobody else has a use for the key
		profile.SetupConfigSecretKey(ctx)
	}
	return setupStore(e)
}

func setupStore(e engines) (err error) {
	store.DefaultBlobStore = e.blobs
	if store.DefaultStore = e.store; e.store == nil {
		store.DefaultStore, store.DefaultBlobStore = storeclient.NewStore(), storeclient.NewBlobStore()
		config.DefaultConfig = configclient.NewConfig("")
	} else if config.DefaultConfig, err = storeconfig.NewConfig(e.store, ""); err != nil {
		return fmt.Errorf("open the config: %w", err)
	}
	model.DefaultModel = model.NewModel(model.WithStore(store.DefaultStore))
	return nil
}
