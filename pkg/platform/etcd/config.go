package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/m3o/backend/pkg/platform/endpoint"
)

// DefaultPrefix is what keys are below of a registry whose address names nothing else.
const DefaultPrefix = "micro"

// Config is where a Registry is kept.
type Config struct {
	// Endpoint is the etcd cluster. Required.
	Endpoint endpoint.Endpoint
	// Prefix is what all keys are below, without a slash around it; DefaultPrefix when empty. A platform has one of its own,
	// and the user of Endpoint, if there is one, has to be allowed to read and write below it.
	Prefix string
}

// syntax is that of MICRO_ETCD_ADDRESS.
var syntax = endpoint.Syntax{
	Schemes: map[string]bool{"etcd": false, "etcds": true},
	Path:    true,
	Port:    "2379",
	Example: "etcd://etcd-1:2379,etcd-2:2379/micro",
}

// ReadConfig reads the configuration from MICRO_ETCD_ADDRESS and MICRO_ETCD_PASSWORD or MICRO_ETCD_PASSWORD_FILE. The path of
// the address is the prefix.
func ReadConfig() (Config, error) {
	e, err := endpoint.Read("ETCD", syntax)
	if err != nil {
		return Config{}, err
	}
	prefix, err := url.PathUnescape(e.Path)
	if err != nil {
		return Config{}, fmt.Errorf("%s: the prefix %q cannot be read: expected an address such as %s", e.Variable, e.Path, syntax.Example)
	}
	return Config{Endpoint: e, Prefix: prefix}, nil
}

// root is what all keys begin with.
func (c Config) root() string {
	prefix := strings.Trim(c.Prefix, "/")
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return "/" + prefix + "/"
}

// variable is the name of that which the endpoint was read from, for errors.
func (c Config) variable() string {
	if c.Endpoint.Variable == "" {
		return "MICRO_ETCD_ADDRESS"
	}
	return c.Endpoint.Variable
}

// connection is a client of etcd, with the connection that it logs in over.
type connection struct {
	*clientv3.Client

	login *clientv3.Client // nil for one that has no user
}

// Close closes the connections.
func (c *connection) Close() error {
	err := c.Client.Close()
	if c.login != nil {
		err = errors.Join(err, c.login.Close())
	}
	return err
}

// connect makes a client of etcd. When there is a user it asks etcd for a token, for as long as ctx lasts.
func (c Config) connect(ctx context.Context) (*connection, error) {
	if len(c.Endpoint.Hosts) == 0 {
		return nil, errors.New("etcd: an address is missing")
	}
	scheme := "http://"
	if c.Endpoint.TLS != nil {
		scheme = "https://"
	}
	config := clientv3.Config{
		// A connection on which nothing comes back is given up, and another one tried; etcd refuses more than this.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		DialTimeout:          callTimeout,
		// gRPC would wait for up to two minutes between two attempts: nodes have to be registered again at once.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		})},
		Logger: zap.NewNop(), // what is worth telling is told by the registry
	}
	for _, host := range c.Endpoint.Hosts {
		config.Endpoints = append(config.Endpoints, scheme+host)
	}
	if c.Endpoint.TLS != nil {
		// The client would keep the authorities that it was made with.
		config.DialOptions = append(config.DialOptions, grpc.WithTransportCredentials(secured{c.Endpoint.TLS}))
	}
	if c.Endpoint.User == "" {
		inner, err := clientv3.New(config)
		return &connection{Client: inner}, err
	}
	password, err := c.Endpoint.Password()
	if err != nil {
		return nil, err
	}
	if password == "" {
		return nil, fmt.Errorf("%s names a user: expected the password in %s or %[2]s_FILE", c.variable(), c.passwordVariable())
	}
	login, err := clientv3.New(config)
	if err != nil {
		return nil, err
	}
	config.Username, config.Password = c.Endpoint.User, password
	config.DialOptions = append(config.DialOptions, grpc.WithChainUnaryInterceptor(loginOver(login.ActiveConnection())))
	inner, err := clientv3.New(config)
	if err != nil {
		_ = login.Close() // what is wrong is known
		return nil, c.explain(ctx, err)
	}
	return &connection{inner, login}, nil
}

// loginOver has a client ask for a token over a connection that sends none. With the token that has run out, as etcd's own
// client would, etcd refuses the very call that is to get another one.
func loginOver(conn *grpc.ClientConn) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if method == "/etcdserverpb.Auth/Authenticate" {
			cc = conn
		}
		return call(ctx, method, req, reply, cc, opts...)
	}
}

func (c Config) passwordVariable() string {
	return strings.TrimSuffix(c.variable(), "_ADDRESS") + "_PASSWORD"
}
