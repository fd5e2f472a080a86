package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// callTimeout is how long etcd has for an answer.
	callTimeout = 3 * time.Second
	// loadTimeout is how long it has to tell everything.
	loadTimeout = 30 * time.Second
)

// errClosed is what there is of a registry that was closed.
var errClosed = errors.New("the registry is closed")

// Registry is Micro's registry in etcd. It is safe for concurrent use.
type Registry struct {
	config    Config
	root      string
	client    *connection
	view      *view
	registrar *registrar
	follower  *follower
	stop      context.CancelFunc
	wg        sync.WaitGroup

	mu      sync.RWMutex
	options registry.Options
	closed  bool
}

var _ registry.Registry = (*Registry)(nil)

// Open connects to etcd and reads what is registered. When it cannot, it says so within 5 seconds and with the name of the
// variable that is wrong. The registry has to be closed, unless it is to live as long as the process.
func Open(config Config) (*Registry, error) {
	ctx, cancel := context.WithCancel(context.Background())
	client, err := config.connect(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	r := &Registry{
		config: config, root: config.root(), client: client, view: newView(config.root()), stop: cancel,
		options: registry.Options{Context: context.Background()},
	}
	r.registrar = &registrar{
		client: client.Client, view: r.view, entries: make(map[string]*entry),
		leases: &leases{client: client.Client, ctx: ctx, alive: make(map[time.Duration]clientv3.LeaseID)},
	}
	r.follower = &follower{client.Client, r.root, r.view}
	if err := r.begin(ctx); err != nil {
		cancel()
		_ = client.Close() // why it cannot be used is known
		return nil, err
	}
	r.wg.Go(func() { r.follower.run(ctx) })
	r.wg.Go(func() { r.registrar.sweep(ctx) })
	return r, nil
}

// begin makes sure that etcd answers, which it has little time for, and reads what there is, for which it has more.
func (r *Registry) begin(ctx context.Context) error {
	if err := r.Check(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := r.follower.load(ctx); err != nil {
		return r.config.explain(ctx, err)
	}
	return nil
}

// Check asks etcd for a sign of life, for health checks. The error says what is wrong with it.
func (r *Registry) Check(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, _, err := r.follower.epoch(within); err != nil {
		return r.config.explain(ctx, err)
	}
	return nil
}

// Close ends everything that the registry does. What was registered stays until its time is over, so that those that are
// registered for others have the time to turn to somebody else; a service is deregistered before.
func (r *Registry) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	r.stop()
	r.wg.Wait()
	r.registrar.leases.wait()
	r.view.end(registry.ErrWatcherStopped)
	return r.client.Close()
}

func (r *Registry) usable() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return errClosed
	}
	return nil
}

// Init keeps options, for Options to return. Where the registry is and how it is reached is said by its Config alone.
func (r *Registry) Init(opts ...registry.Option) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range opts {
		o(&r.options)
	}
	return nil
}

// Options returns what Init was given.
func (r *Registry) Options() registry.Options {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.options
}

// String is the name of the registry.
func (r *Registry) String() string { return "etcd" }

// Register registers the nodes of a service for a time to live, for ever if there is none. A node that is registered again as
// it was costs etcd nothing. One that is not registered again in time vanishes. When it returns, the nodes are found here, and
// within some milliseconds everywhere.
func (r *Registry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	options := registry.RegisterOptions{Context: context.Background()}
	for _, o := range opts {
		o(&options)
	}
	ids, err := r.nodes(options.Domain, s)
	if err != nil {
		return err
	}
	text, err := describe(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(options.Context, callTimeout)
	defer cancel()
	for i, id := range ids {
		if err := r.registrar.register(ctx, id, id.key(r.root), s.Nodes[i], text, options.TTL); err != nil {
			return r.failed(err)
		}
	}
	return nil
}

// Deregister takes the nodes of a service out at once. Nodes that there are not are no error.
func (r *Registry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	options := registry.DeregisterOptions{Context: context.Background()}
	for _, o := range opts {
		o(&options)
	}
	ids, err := r.nodes(options.Domain, s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(options.Context, callTimeout)
	defer cancel()
	for _, id := range ids {
		if err := r.registrar.deregister(ctx, id.key(r.root)); err != nil {
			return r.failed(err)
		}
	}
	return nil
}

// failed is the error of a call: what is wrong with an etcd that does not answer is for Check to find out.
func (r *Registry) failed(err error) error {
	if closed := r.usable(); closed != nil {
		return closed
	}
	if unreachable(err) {
		return r.config.silent()
	}
	return r.config.explain(context.Background(), err)
}

// nodes returns who the nodes of a service are.
func (r *Registry) nodes(domain string, s *registry.Service) ([]nodeID, error) {
	if err := r.usable(); err != nil {
		return nil, err
	}
	if s == nil || s.Name == "" {
		return nil, errors.New("service: expected one with a name")
	}
	if len(s.Nodes) == 0 {
		return nil, errors.New("nodes: expected one at least: a service is where its nodes are")
	}
	if domain = orDefault(domain); domain == registry.WildcardDomain {
		return nil, errors.New("domain: expected one, not all of them")
	}
	ids := make([]nodeID, len(s.Nodes))
	for i, n := range s.Nodes {
		if n == nil || n.Id == "" {
			return nil, errors.New("nodes: expected an id of each")
		}
		ids[i] = nodeID{domain, s.Name, s.Version, n.Id}
	}
	return ids, nil
}

func orDefault(domain string) string {
	if domain == "" {
		return registry.DefaultDomain
	}
	return domain
}

// GetService returns the versions of a service with their nodes, or registry.ErrNotFound, from memory; while etcd is away, as
// they were when it was there.
func (r *Registry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	var options registry.GetOptions
	for _, o := range opts {
		o(&options)
	}
	if err := r.usable(); err != nil {
		return nil, err
	}
	found := r.view.get(orDefault(options.Domain), name)
	if len(found) == 0 {
		return nil, registry.ErrNotFound
	}
	return found, nil
}

// ListServices returns the versions of all services with their nodes, from memory as GetService does.
func (r *Registry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	var options registry.ListOptions
	for _, o := range opts {
		o(&options)
	}
	if err := r.usable(); err != nil {
		return nil, err
	}
	return r.view.list(orDefault(options.Domain)), nil
}

// Watch tells what happens from now on, node by node. A watcher that is 20,000 changes behind ends with an error.
func (r *Registry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var options registry.WatchOptions
	for _, o := range opts {
		o(&options)
	}
	if err := r.usable(); err != nil {
		return nil, err
	}
	return r.view.watch(orDefault(options.Domain), options.Service), nil
}
