package edge

import (
	stderrors "errors"
	"net/http"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/auth"
)

const (
	// fresh is how long an answer of the registry is used without asking again.
	fresh = time.Second
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

// nodes is a view of the registry that survives it.
type nodes struct {
	registry Finder
	clock    func() time.Time

	mu    sync.Mutex
	known map[string]entry
}

// entry is what is known of one service.
type entry struct {
	addresses []string
	outside   map[string]bool // the endpoints that are reachable from outside
	truths    map[string]bool // the parameters that are true or false, as "Usage.ReadMonthlyTotal detail"
	asked     time.Time       // when the registry was last asked
	seen      time.Time       // when it last had nodes
}

func newNodes(registry Finder) *nodes {
	return &nodes{registry: registry, clock: time.Now, known: make(map[string]entry)}
}

// find returns what is known of a service, without addresses if there is no such service. It fails only if nothing was
// known before and the registry cannot be asked.
func (n *nodes) find(service string) (entry, error) {
	now := n.clock()
	n.mu.Lock()
	e, ok := n.known[service]
	n.mu.Unlock()
	if ok && now.Sub(e.asked) < fresh {
		return e, nil
	}
	found, err := n.registry.GetService(service)
	switch {
	case err == nil && len(found) > 0:
		e = entry{addresses: addressesOf(found), outside: outsideOf(found), truths: truthsOf(found), asked: now, seen: now}
	case err == nil || isNotFound(err):
		e.asked = now
		if now.Sub(e.seen) > forget {
			e.addresses = nil
		}
	case len(e.addresses) > 0:
		e.asked = now
	default:
		return entry{}, err
	}
	n.remember(service, e)
	return e, nil
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

func (n *nodes) remember(service string, e entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known[service]; !ok && len(n.known) >= maxKnown {
		clear(n.known)
	}
	n.known[service] = e
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

// outsideOf finds the endpoints that say they are for everybody or for customers. Whatever says nothing, as Micro's own
// services do, is not reachable; nor is what one of several versions of a service says otherwise.
func outsideOf(services []*registry.Service) map[string]bool {
	outside := make(map[string]bool)
	for _, s := range services {
		for _, endpoint := range s.Endpoints {
			access := endpoint.Metadata[auth.EndpointKey]
			open := access == auth.ForPublic.String() || access == auth.ForCustomer.String()
			if before, ok := outside[endpoint.Name]; ok {
				open = open && before
			}
			outside[endpoint.Name] = open
		}
	}
	return outside
}

// truthsOf finds the parameters that are true or false: a query does not tell them from text.
func truthsOf(services []*registry.Service) map[string]bool {
	truths := make(map[string]bool)
	for _, s := range services {
		for _, endpoint := range s.Endpoints {
			if endpoint.Request == nil {
				continue
			}
			for _, v := range endpoint.Request.Values {
				if v.Type == "bool" {
					truths[endpoint.Name+" "+v.Name] = true
				}
			}
		}
	}
	return truths
}

func isNotFound(err error) bool {
	return stderrors.Is(err, registry.ErrNotFound) || errors.FromError(err).Code == http.StatusNotFound
}
