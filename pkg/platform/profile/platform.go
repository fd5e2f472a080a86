package profile

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/broker"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/store"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/platform/etcd"
	"github.com/m3o/backend/pkg/platform/postgres"
	"github.com/m3o/backend/pkg/platform/redis"
)

// storing are the core services that work with the store, in PostgreSQL, and streaming those that do with Redis.
var storing, streaming = []string{"store", "config", "auth", "runtime"}, []string{"broker", "events"}

// openPlatform opens what a core service works with. The registry is etcd for all of them, so that each finds the others
// while the core service "registry" is away.
func openPlatform(service string) (e engines, err error) {
	if service == "" {
		return e, nil
	}
	if e.registry, err = openRegistry(); err != nil {
		return e, err
	}
	switch {
	case service == "broker":
		e.broker, err = openBroker()
	case slices.Contains(storing, service):
		e.store, e.blobs, err = openStore()
	}
	return e, err
}

// Try makes sure that everything is there that the profile of this process works with: it opens each engine and closes it
// again. The error says in one sentence what has to be changed.
func Try() error {
	if Current() != Platform {
		return nil
	}
	var trying errgroup.Group
	trying.Go(func() error { _, err := openRegistry(); return err })
	trying.Go(func() error { _, _, err := openStore(); return err })
	trying.Go(func() error { _, err := openBroker(); return err })
	err := trying.Wait()
	for _, e := range opened.take() {
		err = errors.Join(err, e.close())
	}
	return err
}

func openRegistry() (registry.Registry, error) {
	config, err := etcd.ReadConfig()
	if err != nil {
		return nil, err
	}
	r, err := etcd.Open(config)
	if err != nil {
		return nil, err
	}
	opened.add(engine{"etcd", r.Check, r.Close})
	return r, nil
}

func openStore() (store.Store, store.BlobStore, error) {
	config, err := postgres.ReadConfig()
	if err != nil {
		return nil, nil, err
	}
	db, err := postgres.Open(context.Background(), config)
	if err != nil {
		return nil, nil, err
	}
	opened.add(engine{"postgres", db.Check, func() error { db.Close(); return nil }})
	return db.Store(), db.Blobs(), nil
}

func openBroker() (broker.Broker, error) {
	config, err := redis.ReadConfig()
	if err != nil {
		return nil, err
	}
	b, err := redis.OpenBroker(config)
	if err != nil {
		return nil, err
	}
	opened.add(engine{"redis", b.Check, b.Close})
	return b, nil
}

// platformStream opens the event stream in Redis.
func platformStream() (Stream, error) {
	config, err := redis.ReadConfig()
	if err != nil {
		return nil, err
	}
	if config.Retention, config.MaxBytes, err = keeping(); err != nil {
		return nil, err
	}
	return redis.OpenStream(config)
}

// Needs tells whether a core service works with the engine that an environment variable is about, on the platform profile.
func Needs(service, variable string) bool {
	switch {
	case strings.HasPrefix(variable, "MICRO_REDIS_"):
		return slices.Contains(streaming, service)
	case strings.HasPrefix(variable, "MICRO_POSTGRES_"):
		return slices.Contains(storing, service)
	}
	return true
}

// DatabaseEnv is the environment variable with the address of the database of services whose configuration has none
// (<service>.db.address): without a password, and with the name of the service in the place of %s. On the platform profile it
// is that of the store, MICRO_POSTGRES_ADDRESS, when it is not set.
const DatabaseEnv = "MICRO_DATABASE_ADDRESS"

// DatabaseAddress returns where a service is to keep what it knows; empty for a file below the state directory.
func DatabaseAddress(service string) string {
	address := os.Getenv(DatabaseEnv)
	if address == "" && Current() == Platform {
		address = os.Getenv(postgres.Variable)
	}
	return strings.ReplaceAll(address, "%s", service)
}

// Engines are where the engines of this process's profile are, by their names for people; none for the embedded one.
func Engines() [][2]string {
	if Current() != Platform {
		return nil
	}
	return [][2]string{
		{"etcd", os.Getenv("MICRO_ETCD_ADDRESS")},
		{"Redis", os.Getenv("MICRO_REDIS_ADDRESS")},
		{"Postgres", os.Getenv(postgres.Variable)},
	}
}
