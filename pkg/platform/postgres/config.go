package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Variable is the environment variable with the address of the database.
const Variable = "MICRO_POSTGRES_ADDRESS"

const (
	// maxConns is how many connections a process has at most, unless the address says it.
	maxConns = 16
	// connectTimeout is how long one host may take to let a connection in.
	connectTimeout = 3 * time.Second
	// healthCheck is how often connections are looked for that are too old or were idle for too long.
	healthCheck = 15 * time.Second
	// pingTimeout is how long a connection that was idle may take to answer before it is used.
	pingTimeout = 2 * time.Second
	// maxConnIdle is how long a connection is kept that nobody uses.
	maxConnIdle = 5 * time.Minute
	// maxConnLife is for how long a connection is used, so that a server that was moved is noticed.
	maxConnLife = 30 * time.Minute
)

const example = "postgres://user@host:5432/database?sslmode=verify-full"

var errExpected = fmt.Errorf("%s: expected an address such as %s", Variable, example)

// parsing says what is wrong with an address: the text of pgx's error repeats it, what that wraps is about a part of it.
func parsing(err error) error {
	if e := errors.Unwrap(err); e != nil {
		return fmt.Errorf("%s: %w", Variable, e)
	}
	return errExpected
}

// Config says where the database is.
type Config struct {
	// Address is a URL as libpq reads it, without a password: postgres://user@host:5432/database?sslmode=verify-full.
	// pool_max_conns=n in it says how many connections a process has at most; 16 otherwise. What it does not say comes from
	// libpq's variables: PGPASSFILE or PGPASSWORD, PGSSLROOTCERT, ...
	Address string
}

// ReadConfig reads where the database is from MICRO_POSTGRES_ADDRESS. Errors name what is to be changed, and have nothing in
// them that may be secret.
func ReadConfig() (Config, error) {
	c := Config{Address: os.Getenv(Variable)}
	_, err := c.pool()
	return c, err
}

// pool checks the configuration and makes that of the pool.
func (c Config) pool() (*pgxpool.Config, error) {
	if c.Address == "" {
		return nil, fmt.Errorf("%s is not set: expected an address such as %s", Variable, example)
	}
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && !u.Query().Has("host") {
		return nil, errExpected
	}
	if _, ok := u.User.Password(); ok || u.Query().Has("password") {
		return nil, fmt.Errorf("%s: must not contain a password: give it with PGPASSFILE or PGPASSWORD", Variable)
	}
	if file := os.Getenv("PGPASSFILE"); file != "" {
		if err := readable(file); err != nil { // which libpq and pgx pass over in silence
			return nil, fmt.Errorf("PGPASSFILE: %w", err)
		}
	}
	pool, err := pgxpool.ParseConfig(c.Address)
	if err != nil {
		return nil, parsing(err)
	}
	if !u.Query().Has("pool_max_conns") {
		pool.MaxConns = maxConns
	}
	pool.MaxConnIdleTime, pool.MaxConnLifetime, pool.MaxConnLifetimeJitter = maxConnIdle, maxConnLife, maxConnLife/10
	pool.HealthCheckPeriod, pool.PingTimeout = healthCheck, pingTimeout
	pool.ConnConfig.ConnectTimeout = connectTimeout
	// A host that has died says nothing: its connections are given up after half a minute without a sign of life.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	pool.ConnConfig.DialFunc = dialer.DialContext
	// Passwords and certificates are read for each connection, so that they can be replaced.
	pool.BeforeConnect = func(_ context.Context, next *pgx.ConnConfig) error {
		now, err := pgx.ParseConfig(withoutPool(*u))
		if err != nil {
			return parsing(err)
		}
		next.Password, next.TLSConfig, next.Fallbacks = now.Password, now.TLSConfig, now.Fallbacks
		return nil
	}
	return pool, nil
}

// withoutPool is the address without what only the pool understands.
func withoutPool(u url.URL) string {
	query := u.Query()
	for key := range query {
		if strings.HasPrefix(key, "pool_") {
			query.Del(key)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

func readable(file string) error {
	f, err := os.Open(file) //nolint:gosec // the operator's
	if err != nil {
		return err
	}
	return f.Close()
}
