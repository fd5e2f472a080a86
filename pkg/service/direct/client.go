package direct

import (
	"context"
	"sync"
	"sync/atomic"

	pb "github.com/micro/micro/v3/proto/registry"
	"github.com/micro/micro/v3/service/client"
	grpcclient "github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/registry"
)

// Client is a client.Client of Micro that calls nodes directly. It is safe for concurrent use. Requests, messages and
// publishing are those of Micro's own client.
//
// Of Micro's options it takes those that say what to call, for how long and as whom. Who is called when, and what is
// called again, it decides itself, so proxy, router, selector, lookup, pool, dial timeout, retry and backoff have no
// effect; with no retries (client.WithRetries(0)) it makes no call again that may have been carried out.
type Client struct {
	client.Client
	config    Config
	directory *directory
	budget    budget
	bearer    bearer
	// settings are the call options that calls start from.
	settings atomic.Pointer[client.CallOptions]
	initMu   sync.Mutex
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// New returns a client. It has to be closed, unless it is to live as long as the process.
func New(config Config, opts ...client.Option) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	config = config.withDefaults()
	c := &Client{Client: grpcclient.NewClient(opts...), config: config, stop: cancel}
	if config.Registry == nil {
		config.Registry = &microRegistry{rpc: &rpcRegistry{ctx: ctx, pb: pb.NewRegistryService(registryName, c)}}
	}
	c.directory = newDirectory(ctx, config)
	c.remember()
	c.wg.Go(func() {
		for pause(ctx, addressIdle, nil) {
			c.directory.pool.sweep()
		}
	})
	return c
}

// registryName is the service that cannot be looked up.
const registryName = "registry"

// microRegistry is the registry that Micro is set up with by the time it is asked. If that is a service, it is asked
// without Micro's own client.
type microRegistry struct{ rpc Registry }

func (m *microRegistry) now() Registry {
	if registry.DefaultRegistry == nil || registry.DefaultRegistry.String() == "service" {
		return m.rpc
	}
	return registry.DefaultRegistry
}

// GetService implements Registry.
func (m *microRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	return m.now().GetService(name, opts...)
}

// Watch implements Registry.
func (m *microRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	return m.now().Watch(opts...)
}

// Init implements client.Client.
func (c *Client) Init(opts ...client.Option) error {
	c.initMu.Lock()
	defer c.initMu.Unlock()
	if err := c.Client.Init(opts...); err != nil {
		return err
	}
	c.remember()
	return nil
}

// Options implements client.Client.
func (c *Client) Options() client.Options {
	c.initMu.Lock()
	defer c.initMu.Unlock()
	return c.Client.Options()
}

func (c *Client) remember() {
	settings := c.Client.Options().CallOptions
	c.settings.Store(&settings)
}

// Close ends what the client does in the background and closes its connections. Calls that are under way fail.
func (c *Client) Close() error {
	c.stop()
	c.directory.wg.Wait()
	c.wg.Wait()
	return c.directory.pool.close()
}

// String implements client.Client. Micro's packages look at it to tell which protocol calls have.
func (c *Client) String() string { return c.Client.String() }

// target is what a call goes to.
type target struct {
	service string
	entry   *entry  // nil if the caller named addresses
	fixed   []*peer // those, or where a core service is when nobody else can be called
}

// nodes are those that may be called now.
func (t *target) nodes() []*peer {
	if t.entry != nil {
		if nodes := *t.entry.nodes.Load(); len(nodes) > 0 {
			return nodes
		}
	}
	return t.fixed
}

// find finds out what a call goes to.
func (c *Client) find(service string, addresses []string) (target, error) {
	t := target{service: service}
	fixed, isFixed := c.config.Fixed[service]
	switch {
	case len(addresses) > 0:
	case service == registryName && isFixed:
		addresses = []string{fixed}
	default:
		t.entry = c.directory.find(service)
		if !isFixed || len(*t.entry.nodes.Load()) > 0 {
			return t, nil
		}
		addresses = []string{fixed}
	}
	t.fixed = make([]*peer, len(addresses))
	for i, addr := range addresses {
		p, err := c.directory.pool.byAddress(addr, service)
		if err != nil {
			return t, err
		}
		t.fixed[i] = p
	}
	return t, nil
}
