package direct

import (
	"time"

	"github.com/micro/micro/v3/service/registry"
	"google.golang.org/grpc/credentials"
)

// Registry is what the client needs of a registry.
type Registry interface {
	GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error)
	Watch(opts ...registry.WatchOption) (registry.Watcher, error)
}

// Config is what a Client is made of; the zero value is what a service needs.
type Config struct {
	// Registry is where services are looked up; nil is Micro's (registry.DefaultRegistry at the time it is asked).
	Registry Registry
	// Fixed has the addresses of services that are called there as long as the registry knows no node of them, by
	// name. The service "registry" is always called there: it cannot be asked where it is itself.
	Fixed map[string]string
	// Credentials returns the namespace of calls whose context has none, and the token of a call with
	// client.WithAuthToken, empty when there is none. Nil is what Micro's auth says.
	Credentials func() (namespace, token string)

	// Secure returns what connections to a service are made with, which also makes sure that it is that service; nil is
	// without TLS.
	Secure func(service string) credentials.TransportCredentials

	// Poll is how often the registry is asked for a service that is called, beside its own notices; 0 is 5 s.
	Poll time.Duration
	// Settle is how long the registry has to have been watched without a break for a node that is not listed to be
	// gone; 0 is 5 s. A registry that was restarted knows nobody at first.
	Settle time.Duration
	// Forget is after how long a node that is not listed is gone in any case; 0 is 10 s.
	Forget time.Duration
	// Patience is how long a call waits while no node of its service can be reached, if its deadline is not sooner;
	// 0 is 2 s, so that nobody notices when the only node of a service is replaced.
	Patience time.Duration
}

func (c Config) withDefaults() Config {
	for d, v := range map[*time.Duration]time.Duration{
		&c.Poll: 5 * time.Second, &c.Settle: 5 * time.Second, &c.Forget: 10 * time.Second, &c.Patience: 2 * time.Second,
	} {
		if *d == 0 {
			*d = v
		}
	}
	if c.Credentials == nil {
		c.Credentials = microCredentials
	}
	return c
}
