package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/m3o/backend/pkg/platform/endpoint"
)

const (
	// connectTimeout is how long connecting may take at the start, and dialTimeout at any later time.
	connectTimeout, dialTimeout = 5 * time.Second, 2 * time.Second
	// answerTimeout is how long the server may take for any answer.
	answerTimeout = 5 * time.Second
)

// The schemes of addresses, each also with rediss for TLS.
const (
	schemeSingle   = "redis"
	schemeCluster  = "redis+cluster"
	schemeSentinel = "redis+sentinel"
)

// syntax is that of addresses.
var syntax = endpoint.Syntax{
	Schemes: map[string]bool{
		schemeSingle: false, "rediss": true, schemeCluster: false, "rediss+cluster": true, schemeSentinel: false, "rediss+sentinel": true,
	},
	Path: true, Port: "6379",
	Example: "redis://user@redis.internal:6379/0, redis+cluster://one,two,three or redis+sentinel://one,two,three/master",
}

// Config is where Redis is, and how an event stream keeps events there. ReadConfig makes one.
type Config struct {
	// Endpoint is where the servers are. One of scheme redis has the number of a database as its path; one of redis+cluster
	// has none; one of redis+sentinel names Sentinels, and its path is the name of the master and maybe a database: main/0.
	// Sentinels are asked without a password.
	Endpoint endpoint.Endpoint
	// MaxBytes is how many bytes of events a topic may hold; 1 GiB when 0, at least 1 MiB. When a topic is at its bound, what
	// all groups have acknowledged is removed, and nothing else: if that is not enough it takes no more events.
	MaxBytes int64
	// Retention is how long events are kept that all groups have acknowledged, and how long a group is remembered of which
	// nobody has been there; 7 days when 0; from a second to 7 days, for half as long as consumers remember what they have
	// handled.
	Retention time.Duration

	// beat is how often a member says that it is there, for tests.
	beat time.Duration
}

// ReadConfig reads MICRO_REDIS_ADDRESS, and MICRO_REDIS_PASSWORD or MICRO_REDIS_PASSWORD_FILE; see pkg/platform/endpoint.
func ReadConfig() (Config, error) {
	e, err := endpoint.Read("REDIS", syntax)
	return Config{Endpoint: e}, err
}

// ParseConfig is ReadConfig for an address, without a password.
func ParseConfig(address string) (Config, error) {
	e, err := endpoint.Parse(address, syntax)
	return Config{Endpoint: e}, err
}

func (c Config) complete() (Config, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.beat == 0 {
		c.beat = beat
	}
	switch {
	case c.MaxBytes < 1<<20:
		return c, fmt.Errorf("max_bytes: expected at least %d", 1<<20)
	case c.Retention < time.Second || c.Retention > 7*24*time.Hour:
		return c, errors.New("retention: expected a time from 1s to 168h")
	}
	return c, nil
}

// connect returns a client of servers that answer. It repeats nothing by itself: whether something that was not answered has
// been done matters, and only its caller knows how.
func (c Config) connect() (redis.UniversalClient, error) {
	options, err := c.options()
	if err != nil {
		return nil, c.wrong(err)
	}
	quieten.Do(func() { redis.SetLogger(log{}) })
	client := redis.NewUniversalClient(options)
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(c.wrong(err), client.Close())
	}
	return client, nil
}

func (c Config) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs: c.Endpoint.Hosts,
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			password, err := c.Endpoint.Password()
			return c.Endpoint.User, password, err
		},
		DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: answerTimeout, WriteTimeout: answerTimeout,
		ContextTimeoutEnabled: true, MaxRetries: -1,
		Protocol: 2, DisableIdentity: true, // the version whose answers are arrays
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Endpoint.TLS != nil {
		o.Dialer = c.dialTLS
	}
	path := c.Endpoint.Path
	switch strings.Replace(c.Endpoint.Scheme, "rediss", "redis", 1) {
	case schemeCluster:
		if path != "" {
			return nil, errors.New("a cluster has no databases: expected nothing after the servers")
		}
		o.IsClusterMode = true
		return o, nil
	case schemeSentinel:
		o.MasterName, path, _ = strings.Cut(path, "/")
		if o.MasterName == "" {
			return nil, errors.New("expected the name of the master after the Sentinels, as in redis+sentinel://one,two,three/master")
		}
	default:
		if len(o.Addrs) > 1 {
			return nil, errors.New("expected one server, or redis+cluster:// or redis+sentinel:// before several")
		}
	}
	if path != "" {
		n, err := strconv.Atoi(path)
		if err != nil || n < 0 {
			return nil, errors.New("expected the number of a database after the server, as in redis://redis.internal:6379/0")
		}
		o.DB = n
	}
	return o, nil
}

// dialTLS makes a connection with the certificates and the authorities that the files have now; the client would keep those that it
// was made with.
func (c Config) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config, err := c.Endpoint.TLS(host)
	if err != nil {
		return nil, err
	}
	// A host that has died says nothing: its connections are given up after half a minute without a sign of life.
	dead := net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: dead}, Config: config}
	return dialer.DialContext(ctx, network, addr)
}

// wrong says what is wrong with the configuration, and which variable to change.
func (c Config) wrong(err error) error {
	variable := c.Endpoint.Variable
	if variable == "" {
		variable = "MICRO_REDIS_ADDRESS"
	}
	where := strings.Join(c.Endpoint.Hosts, ",")
	switch text := err.Error(); {
	case strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "NOAUTH"), strings.Contains(text, "AUTH <password>"):
		return fmt.Errorf("MICRO_REDIS_PASSWORD: Redis at %s does not accept the user and the password: %w", where, err)
	case strings.HasPrefix(text, "NOPERM"):
		return fmt.Errorf("%s: the user may not do what is needed at %s: %w", variable, where, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: Redis at %s does not answer: is it there, with TLS (rediss://) or without (redis://)?", variable, where)
	default:
		return fmt.Errorf("%s: Redis at %s: %w", variable, where, err)
	}
}

// log is the log of the client, which reports errors that its callers report too.
type log struct{}

var quieten sync.Once

// Printf implements the client's logger.
func (log) Printf(_ context.Context, format string, args ...any) {
	logger.Debugf("Redis: "+format, args...)
}
