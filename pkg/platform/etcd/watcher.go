package etcd

import (
	"errors"
	"sync"

	"github.com/micro/micro/v3/service/registry"
)

// maxUnread is how many changes a watcher may be behind: as many as there are when all nodes of a large platform change at once.
const maxUnread = 20_000

// errSlow ends a watcher that is too far behind.
var errSlow = errors.New("the watcher has not read 20000 changes: ask for everything and watch again")

// event is what has happened to a node.
type event struct {
	what registry.EventType
	node *node
}

// watcher implements registry.Watcher. It holds changes up nowhere: it has a queue of its own.
type watcher struct {
	domain, service string
	forget          func(*watcher)

	mu     sync.Mutex
	unread []event
	err    error
	wake   chan struct{} // of capacity 1
}

// add adds what has happened, if it is watched. It returns false when the watcher has ended.
func (w *watcher) add(e event) bool {
	if w.service != "" && w.service != e.node.id.service {
		return true
	}
	if w.domain != registry.WildcardDomain && w.domain != e.node.id.domain {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false
	}
	if len(w.unread) == maxUnread {
		w.err, w.unread = errSlow, nil
	} else {
		w.unread = append(w.unread, e)
	}
	w.wakeUp()
	return w.err == nil
}

func (w *watcher) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
}

// Next returns what has happened to a node: a service with this node alone, and whether it was created, updated or deleted.
// After an error there is nothing more.
func (w *watcher) Next() (*registry.Result, error) {
	for {
		w.mu.Lock()
		err := w.err
		var e event
		if err == nil && len(w.unread) > 0 {
			e = w.unread[0]
			if w.unread = w.unread[1:]; len(w.unread) == 0 {
				w.unread = nil
			}
		}
		w.mu.Unlock()
		switch {
		case err != nil:
			w.wakeUp() // whoever else waits
			return nil, err
		case e.node != nil:
			return &registry.Result{Action: e.what.String(), Service: e.node.alone()}, nil
		}
		<-w.wake
	}
}

// Stop has Next return registry.ErrWatcherStopped.
func (w *watcher) Stop() {
	w.forget(w)
	w.end(registry.ErrWatcherStopped)
}

func (w *watcher) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err, w.unread = err, nil
	}
	w.wakeUp()
}

// watch has the view tell a new watcher what happens from now on.
func (v *view) watch(domain, service string) *watcher {
	w := &watcher{domain: domain, service: service, wake: make(chan struct{}, 1), forget: v.forget}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over != nil {
		w.end(v.over)
		return w
	}
	v.watchers[w] = struct{}{}
	return w
}

func (v *view) forget(w *watcher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.watchers, w)
}

// end ends all watchers, and those to come.
func (v *view) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = err
	for w := range v.watchers {
		w.end(err)
		delete(v.watchers, w)
	}
}
