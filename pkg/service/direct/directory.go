package direct

import (
	"context"
	stderrors "errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
)

const (
	// askAgain is how soon the registry is asked again that did not answer, at first; the wait doubles up to Poll.
	askAgain = 100 * time.Millisecond
	// notTooOften is how long is waited at least between two questions about a service.
	notTooOften = 20 * time.Millisecond
	// unusedFor is after how many polls without a call a service is forgotten.
	unusedFor = 120
)

// directory has the nodes of the services that are called.
type directory struct {
	config Config
	pool   *pool
	ctx    context.Context //nolint:containedctx // the life of what runs in the background
	wg     sync.WaitGroup

	// watchedSince is since when the registry has been watched without a break, in nanoseconds since 1970; 0 is not.
	watchedSince atomic.Int64
	watch        sync.Once

	mu       sync.RWMutex
	services map[string]*entry
}

// entry is what is known of one service.
type entry struct {
	name string
	// nodes are those that may be called.
	nodes atomic.Pointer[[]*peer]
	// levels has what endpoints say of repeating them.
	levels atomic.Pointer[map[string]string]
	// answered is closed when the registry has answered for the first time, or has failed to.
	answered chan struct{}
	// sold says that the service is sold: whose token a call has is none of its business. Once it is, it stays so.
	sold atomic.Bool
	// existed says that the service has had a node.
	existed atomic.Bool
	// called says that there was a call since the last poll.
	called atomic.Bool
	ask    chan struct{}

	// members are the nodes by address. They belong to the goroutine that keeps the entry.
	members map[string]*member
}

// member is a node that was listed, with a reference to its peer.
type member struct {
	peer    *peer
	missing time.Time // since when the registry does not list it; zero if it does
}

func newDirectory(ctx context.Context, config Config) *directory {
	d := &directory{config: config, ctx: ctx, services: make(map[string]*entry)}
	d.pool = newPool(d.lost, config.Secure)
	return d
}

// find returns the entry of a service.
func (d *directory) find(name string) *entry {
	d.mu.RLock()
	e, ok := d.services[name]
	if ok && !e.called.Load() {
		e.called.Store(true)
	}
	d.mu.RUnlock()
	if ok {
		return e
	}
	d.watch.Do(func() { d.wg.Go(d.keepWatching) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok = d.services[name]; ok {
		return e
	}
	e = &entry{name: name, answered: make(chan struct{}), ask: make(chan struct{}, 1), members: make(map[string]*member)}
	e.nodes.Store(new([]*peer))
	e.levels.Store(new(map[string]string))
	e.called.Store(true)
	if d.ctx.Err() != nil {
		close(e.answered)
		return e
	}
	d.services[name] = e
	d.wg.Go(func() { d.keep(e) })
	return e
}

// keep keeps an entry up to date as long as the service is called.
func (d *directory) keep(e *entry) {
	wait, unused := askAgain, 0
	for first := true; ; first = false {
		asked := time.Now()
		err := d.refresh(e)
		if first {
			close(e.answered)
		}
		if err == nil {
			wait = d.config.Poll
		} else {
			wait = min(2*wait, d.config.Poll)
		}
		if !pause(d.ctx, wait, e.ask) {
			d.drop(e)
			return
		}
		if e.called.Swap(false) {
			unused = 0
		} else if unused++; unused >= unusedFor && d.forget(e) {
			d.drop(e)
			return
		}
		if !pause(d.ctx, notTooOften-time.Since(asked), nil) {
			d.drop(e)
			return
		}
	}
}

// pause waits for a time or for early, and returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-early:
	}
	return ctx.Err() == nil
}

// refresh asks the registry for a service and takes in the answer.
func (d *directory) refresh(e *entry) error {
	since := d.watchedSince.Load()
	found, err := d.registry().GetService(e.name)
	if err != nil && !IsNotFound(err) {
		logger.Debugf("The registry does not answer, the known nodes of %s are called: %v", e.name, err)
		return err
	}
	now := time.Now()
	// An answer counts as complete if nothing can have happened to the registry for some time before it.
	complete := since != 0 && since == d.watchedSince.Load() && now.Sub(time.Unix(0, since)) >= d.config.Settle
	levels := make(map[string]string)
	listed := make(map[string]bool)
	for _, s := range found {
		for _, endpoint := range s.Endpoints {
			levels[endpoint.Name] = endpoint.Metadata[LevelKey]
		}
		for _, node := range s.Nodes {
			listed[node.Address] = true
			if node.Metadata[SoldKey] == "true" {
				e.sold.Store(true) // before anybody can call the node
			}
		}
	}
	if len(found) > 0 {
		e.levels.Store(&levels)
	}
	d.update(e, listed, complete, now)
	return nil
}

func (d *directory) registry() Registry {
	if d.config.Registry != nil {
		return d.config.Registry
	}
	return registry.DefaultRegistry
}

// update makes the nodes of an entry those that are listed, and those that may have been left out by mistake.
func (d *directory) update(e *entry, listed map[string]bool, complete bool, now time.Time) {
	changed := false
	for addr := range listed {
		if m, ok := e.members[addr]; ok {
			m.missing = time.Time{}
			continue
		}
		p, err := d.pool.get(d.pool.place(addr, e.name))
		if err != nil {
			logger.Errorf("A node of %s cannot be called: %v", e.name, err)
			continue
		}
		e.members[addr] = &member{peer: p}
		d.pool.states.join(p, e.name)
		changed = true
	}
	var gone []*peer
	for addr, m := range e.members {
		if listed[addr] {
			continue
		}
		if m.missing.IsZero() {
			m.missing = now
		}
		if complete || now.Sub(m.missing) >= d.config.Forget {
			delete(e.members, addr)
			d.pool.states.leave(m.peer, e.name)
			gone = append(gone, m.peer)
			changed = true
		}
	}
	if changed {
		nodes := make([]*peer, 0, len(e.members))
		for _, m := range e.members {
			nodes = append(nodes, m.peer)
		}
		if len(nodes) > 0 {
			e.existed.Store(true)
		}
		e.nodes.Store(&nodes)
		d.pool.signal.raise()
	}
	for _, p := range gone {
		p.release()
	}
}

// forget takes an entry out of the directory, unless it was called in the meantime.
func (d *directory) forget(e *entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.called.Load() {
		return false
	}
	delete(d.services, e.name)
	return true
}

// drop lets go of the nodes of an entry.
func (d *directory) drop(e *entry) {
	e.nodes.Store(new([]*peer))
	for _, m := range e.members {
		d.pool.states.leave(m.peer, e.name)
		m.peer.release()
	}
}

// lost has the registry asked about the services of a peer whose connection has gone.
func (d *directory) lost(p *peer) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range d.services {
		for _, node := range *e.nodes.Load() {
			if node == p {
				e.askNow()
			}
		}
	}
}

func (e *entry) askNow() {
	select {
	case e.ask <- struct{}{}:
	default: // it is going to be asked
	}
}

// keepWatching has the registry tell when something changes. What exactly has changed is asked then: notices get lost,
// and those of some registries do not say whether a node has come or gone.
func (d *directory) keepWatching() {
	wait := askAgain
	for {
		w, err := d.registry().Watch()
		if err == nil {
			wait = askAgain
			d.follow(w)
		} else {
			logger.Debugf("The registry cannot be watched: %v", err)
			wait = min(2*wait, d.config.Poll)
		}
		if !pause(d.ctx, wait, nil) {
			return
		}
	}
}

func (d *directory) follow(w registry.Watcher) {
	d.watchedSince.Store(time.Now().UnixNano())
	defer d.watchedSince.Store(0)
	stop := context.AfterFunc(d.ctx, w.Stop)
	defer func() {
		if stop() {
			w.Stop()
		}
	}()
	// What has happened until now was not told.
	d.mu.RLock()
	for _, e := range d.services {
		e.askNow()
	}
	d.mu.RUnlock()
	for {
		r, err := w.Next()
		if err != nil {
			return
		}
		if r == nil || r.Service == nil {
			continue
		}
		d.mu.RLock()
		if e, ok := d.services[r.Service.Name]; ok {
			e.askNow()
		}
		d.mu.RUnlock()
	}
}

// IsNotFound tells whether a registry has answered that there is no such service, as itself or over RPC.
func IsNotFound(err error) bool {
	return stderrors.Is(err, registry.ErrNotFound) || errors.FromError(err).Code == http.StatusNotFound
}
