package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// The environment variables in which tests and benchmarks find the servers that are started for all of them.
const (
	EtcdEnv     = "TEST_ETCD_ADDRESS"
	RedisEnv    = "TEST_REDIS_ADDRESS"
	PostgresEnv = "TEST_POSTGRES_ADDRESS"
)

// Engines are one server of each kind.
type Engines struct{ Etcd, Redis, Postgres *Server }

// StartAll starts one server of each kind, each in a directory of its own below dir.
func StartAll(ctx context.Context, dir string) (*Engines, error) {
	e := new(Engines)
	var starting errgroup.Group
	for name, f := range map[string]func(Config) error{
		"etcd":     func(c Config) (err error) { e.Etcd, err = Etcd(ctx, c); return err },
		"redis":    func(c Config) (err error) { e.Redis, err = Redis(ctx, c); return err },
		"postgres": func(c Config) (err error) { e.Postgres, err = Postgres(ctx, c); return err },
	} {
		starting.Go(func() error { return f(Config{Dir: filepath.Join(dir, name)}) })
	}
	if err := starting.Wait(); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

// Installed returns an error that names the first program that is missing.
func Installed() error {
	_, err := postgresPrograms()
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	for name, engine := range map[string]string{"etcd": "etcd", "redis-server": "Redis"} {
		if _, err := program(name, engine); err != nil {
			return err
		}
	}
	return nil
}

// Env are the variables with the servers' addresses, for tests and for the platform profile.
func (e *Engines) Env() []string {
	var env []string
	for name, s := range map[string]*Server{"ETCD": e.Etcd, "REDIS": e.Redis, "POSTGRES": e.Postgres} {
		env = append(env, "TEST_"+name+"_ADDRESS="+s.Address(), "MICRO_"+name+"_ADDRESS="+s.Address())
	}
	return env
}

// Stop stops them.
func (e *Engines) Stop() error {
	var stopping errgroup.Group
	for _, s := range []*Server{e.Etcd, e.Redis, e.Postgres} {
		if s != nil {
			stopping.Go(s.Stop)
		}
	}
	return stopping.Wait()
}
