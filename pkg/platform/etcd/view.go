package etcd

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
)

const (
	// silence is after how long without a word from etcd it counts as having been away. Until then no lease of RegisterTTL
	// can have run out for it: the last third of its time has not begun.
	silence = 5 * time.Second
	// suspicion is for how long after that what disappears may have disappeared because of it: etcd takes its time to revoke
	// thousands of leases.
	suspicion = 15 * time.Second
	// linger is how long a node stays that may be there again: twice the time in which its process registers it, and some.
	linger = 5 * time.Second
)

// view is what is known of the nodes in etcd. It is safe for concurrent use.
type view struct {
	root string

	mu       sync.RWMutex
	services map[serviceID]map[string]*node // by key
	// described are the descriptions that nodes have, by what they are compressed to.
	described map[string]*shared
	watchers  map[*watcher]struct{}
	// over is why there are no watchers any more.
	over error
	// lingering are the nodes that are not in etcd, and until when they stay.
	lingering map[string]time.Time
	// epoch tells the history that revisions are of.
	epoch string
	// revision is that of the last change that was seen; moved is closed when it changes.
	revision int64
	moved    chan struct{}
	// generation tells the nodes of one reading from those of the one before.
	generation int
	// heard is when etcd was heard of; suspect is until when a disappearance is not believed at once.
	heard, suspect time.Time
}

// node is a node that is, or was, in etcd. It never changes but for its revision and generation.
type node struct {
	id         nodeID
	address    string
	metadata   map[string]string
	shared     *shared
	revision   int64
	generation int
}

// shared is a description with the number of nodes that have it.
type shared struct {
	description

	compressed string
	nodes      int
}

func newView(root string) *view {
	return &view{
		root: root, services: make(map[serviceID]map[string]*node), described: make(map[string]*shared),
		watchers: make(map[*watcher]struct{}), lingering: make(map[string]time.Time), moved: make(chan struct{}),
	}
}

// touch notes that etcd was heard of.
func (v *view) touch(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hear(now)
}

func (v *view) hear(now time.Time) {
	if !v.heard.IsZero() && now.Sub(v.heard) > silence {
		v.suspect = now.Add(suspicion)
		for key := range v.lingering { // nobody could register in the meantime
			v.lingering[key] = now.Add(linger)
		}
	}
	v.heard = now
}

// begin begins a reading of all that there is; whatever is not put until finish is not there any more. Revisions of another
// epoch mean nothing.
func (v *view) begin(epoch string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hear(now)
	v.generation++
	if v.epoch == epoch {
		return
	}
	v.epoch = epoch
	for _, nodes := range v.services {
		for _, n := range nodes {
			n.revision = 0
		}
	}
}

// same tells whether etcd, of an epoch and at a revision, has all that was seen of it.
func (v *view) same(epoch string, revision int64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.epoch == epoch && v.revision <= revision
}

// finish ends a reading that was made at a revision.
func (v *view) finish(revision int64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, nodes := range v.services {
		for key, n := range nodes {
			if _, ok := v.lingering[key]; !ok && n.generation != v.generation {
				v.lingering[key] = now.Add(linger) // it may not have had the time to be there again
			}
		}
	}
	v.move(revision)
}

// change is a key that was put, or deleted.
type change struct {
	key      string
	value    []byte
	deleted  bool
	revision int64
}

// apply takes in changes in their order.
func (v *view) apply(changes []change, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hear(now)
	for _, c := range changes {
		id, ok := parseKey(v.root, c.key)
		switch {
		case !ok:
		case c.deleted && now.Before(v.suspect):
			if v.services[id.of()][c.key] != nil {
				v.lingering[c.key] = now.Add(linger)
			}
		case c.deleted:
			v.remove(id, c.key)
		default:
			v.put(id, c)
		}
	}
	if len(changes) > 0 {
		v.move(changes[len(changes)-1].revision)
	}
}

// read takes in what was read at begin's time.
func (v *view) read(changes []change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range changes {
		if id, ok := parseKey(v.root, c.key); ok {
			v.put(id, c)
		}
	}
}

func (v *view) move(revision int64) {
	v.revision = revision
	close(v.moved)
	v.moved = make(chan struct{})
}

// put makes a node what its value says. One whose value cannot be read is as it was.
func (v *view) put(id nodeID, c change) {
	old := v.services[id.of()][c.key]
	if old != nil && old.revision == c.revision { // it was read again
		old.generation = v.generation
		delete(v.lingering, c.key)
		return
	}
	var val value
	if err := json.Unmarshal(c.value, &val); err != nil {
		logger.Errorf("The registry's entry %s cannot be read: %v", c.key, err)
		return
	}
	s, err := v.share(val.Description)
	if err != nil {
		logger.Errorf("The registry's entry %s cannot be read: %v", c.key, err)
		return
	}
	n := &node{id: id, address: val.Address, metadata: val.Metadata, shared: s, revision: c.revision, generation: v.generation}
	delete(v.lingering, c.key)
	nodes := v.services[id.of()]
	if nodes == nil {
		nodes = make(map[string]*node)
		v.services[id.of()] = nodes
	}
	nodes[c.key] = n
	switch {
	case old == nil:
		v.tell(registry.Create, n)
	case old.address != n.address || old.shared != n.shared || !maps.Equal(old.metadata, n.metadata):
		v.tell(registry.Update, n)
	}
	if old != nil {
		v.unshare(old.shared)
	}
}

func (v *view) remove(id nodeID, key string) {
	nodes := v.services[id.of()]
	n := nodes[key]
	if n == nil {
		return
	}
	delete(v.lingering, key)
	delete(nodes, key)
	if len(nodes) == 0 {
		delete(v.services, id.of())
	}
	v.tell(registry.Delete, n)
	v.unshare(n.shared)
}

// share returns the description of a node. Nodes that have the same one share it.
func (v *view) share(compressed []byte) (*shared, error) {
	s := v.described[string(compressed)]
	if s == nil {
		d, err := expand(compressed)
		if err != nil {
			return nil, err
		}
		s = &shared{description: *d, compressed: string(compressed)}
		v.described[s.compressed] = s
	}
	s.nodes++
	return s, nil
}

func (v *view) unshare(s *shared) {
	if s.nodes--; s.nodes == 0 {
		delete(v.described, s.compressed)
	}
}

// expire removes the nodes that have lingered for long enough, unless etcd is away.
func (v *view) expire(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.heard) > silence {
		return
	}
	for key, until := range v.lingering {
		if now.Before(until) {
			continue
		}
		if id, ok := parseKey(v.root, key); ok {
			v.remove(id, key)
		}
	}
}

// tell tells those who watch.
func (v *view) tell(what registry.EventType, n *node) {
	for w := range v.watchers {
		if !w.add(event{what, n}) {
			delete(v.watchers, w) // Micro's handler stops none
		}
	}
}

// has tells whether a node is in etcd as it was put at a revision.
func (v *view) has(id nodeID, key string, revision int64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.services[id.of()][key]
	_, gone := v.lingering[key]
	return n != nil && n.revision == revision && !gone
}

// reached returns the revision that was seen last, and what is closed when there is another one.
func (v *view) reached() (int64, <-chan struct{}) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.revision, v.moved
}

// get returns the versions of a service in a domain, or in all of them.
func (v *view) get(domain, name string) []*registry.Service {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var found []*registry.Service
	if domain != registry.WildcardDomain {
		id := serviceID{domain, name}
		return versions(found, id, v.services[id])
	}
	for id, nodes := range v.services {
		if id.name == name {
			found = versions(found, id, nodes)
		}
	}
	return ordered(found)
}

// list returns the versions of all services in a domain, or in all of them.
func (v *view) list(domain string) []*registry.Service {
	v.mu.RLock()
	defer v.mu.RUnlock()
	found := []*registry.Service{}
	for id, nodes := range v.services {
		if domain == registry.WildcardDomain || domain == id.domain {
			found = versions(found, id, nodes)
		}
	}
	return ordered(found)
}

// versions appends the versions that nodes of a service have. What the nodes of one have in common is as the latest of them
// says.
func versions(found []*registry.Service, id serviceID, nodes map[string]*node) []*registry.Service {
	latest := make(map[string]*node)
	for _, n := range nodes {
		if other := latest[n.id.version]; other == nil || other.revision < n.revision {
			latest[n.id.version] = n
		}
	}
	first := len(found)
	byVersion := make(map[string]*registry.Service, len(latest))
	for version, n := range latest {
		s := n.shared.service(id, version)
		byVersion[version] = s
		found = append(found, s)
	}
	for _, n := range nodes {
		s := byVersion[n.id.version]
		s.Nodes = append(s.Nodes, n.copy())
	}
	for _, s := range found[first:] {
		slices.SortFunc(s.Nodes, func(a, b *registry.Node) int { return cmp.Compare(a.Id, b.Id) })
	}
	return ordered(found)
}

func ordered(found []*registry.Service) []*registry.Service {
	slices.SortFunc(found, func(a, b *registry.Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Metadata[domainKey], b.Metadata[domainKey]), cmp.Compare(a.Version, b.Version))
	})
	return found
}

func (n *node) copy() *registry.Node {
	return &registry.Node{Id: n.id.node, Address: n.address, Metadata: copyMap(n.metadata)}
}

// alone is the node's service with this node only.
func (n *node) alone() *registry.Service {
	s := n.shared.service(n.id.of(), n.id.version)
	s.Nodes = []*registry.Node{n.copy()}
	return s
}
