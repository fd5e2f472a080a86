package edge

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/service/direct"
)

const (
	// fresh is how long an answer of the registry is used without asking again.
	fresh = time.Second
	// patience is how long a call waits for the registry when nothing is known of the service.
	patience = 2 * time.Second
	// forget is how long nodes are still called that the registry does not list any more: one that was killed knows
	// nobody until everybody has registered again.
	forget = 10 * time.Second
	// maxKnown bounds how many names are remembered, of which callers can invent any number.
	maxKnown = 1000
)

// Finder finds the nodes of a service; Micro's registry does.
type Finder interface {
	GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error)
}

// nodes is a view of the registry that survives it: what is known is used at once, and asked for again beside the call.
//
// The client has a view of its own (package direct), which this one cannot be: that one connects to every node of a service as
// soon as its name is looked up, and follows the name for ten minutes. Here anybody looks up any name, mostly to be told that
// nothing of it is reachable from outside; so that nothing is connected to before that is known, and names that there are not
// cost an entry in a map, of which there is a bound.
type nodes struct {
	registry Finder
	clock    func() time.Time

	mu     sync.Mutex
	known  map[string]entry
	asking map[string]chan struct{} // closed when the registry has answered
}

// entry is what is known of one service.
type entry struct {
	addresses []string
	endpoints map[string]endpoint
	asked     time.Time // when the registry last answered, or did not
	seen      time.Time // when it last had nodes
	err       error     // why it did not answer
}

func newNodes(registry Finder) *nodes {
	return &nodes{
		registry: registry, clock: time.Now, known: make(map[string]entry), asking: make(map[string]chan struct{}),
	}
}

// errSlow is the error of a call that did not wait for the registry any longer.
var errSlow = errors.New("the registry is slow")

// find returns what is known of a service, without addresses if there is no such service. It fails only if nothing is
// known and the registry cannot be asked.
func (n *nodes) find(service string) (entry, error) {
	n.mu.Lock()
	e := n.known[service]
	var answered chan struct{}
	if n.clock().Sub(e.asked) >= fresh {
		answered = n.ask(service)
	}
	n.mu.Unlock()
	if len(e.addresses) > 0 || answered == nil {
		return e, e.failure()
	}
	select {
	case <-answered:
	case <-time.After(patience):
		return entry{}, errSlow
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e = n.known[service]
	return e, e.failure()
}

// failure is why nothing is known.
func (e entry) failure() error {
	if len(e.addresses) > 0 {
		return nil
	}
	return e.err
}

// ask asks the registry, once at a time for a service; n.mu is held.
func (n *nodes) ask(service string) chan struct{} {
	if answered, ok := n.asking[service]; ok {
		return answered
	}
	answered := make(chan struct{})
	n.asking[service] = answered
	go func() {
		found, err := n.registry.GetService(service)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.learn(service, found, err)
		delete(n.asking, service)
		close(answered)
	}()
	return answered
}

// learn takes in an answer of the registry; n.mu is held.
func (n *nodes) learn(service string, found []*registry.Service, err error) {
	e, ok := n.known[service]
	if !ok && len(n.known) >= maxKnown {
		// Names that callers have invented go first: what is known of real ones has to outlive the registry.
		maps.DeleteFunc(n.known, func(_ string, e entry) bool { return len(e.addresses) == 0 })
		if len(n.known) >= maxKnown {
			clear(n.known)
		}
	}
	now := n.clock()
	switch {
	case err == nil && len(found) > 0:
		e = entry{addresses: addressesOf(found), endpoints: endpointsOf(found), seen: now}
	case err == nil || direct.IsNotFound(err):
		e.err = nil
		if now.Sub(e.seen) > forget {
			e.addresses = nil
		}
	default:
		e.err = err
	}
	e.asked = now
	n.known[service] = e
}

// suspect makes the next call of a service ask the registry.
func (n *nodes) suspect(service string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.known[service]; ok {
		e.asked = time.Time{}
		n.known[service] = e
	}
}

func addressesOf(services []*registry.Service) []string {
	var addresses []string
	for _, s := range services {
		for _, node := range s.Nodes {
			addresses = append(addresses, node.Address)
		}
	}
	return addresses
}
