package registrytest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/internal/casetest"
)

func watchCases() []Case {
	return []Case{
		{"tells watchers of a new node", tellsCreate},
		{"tells watchers of a node that has changed", tellsUpdate},
		{"tells watchers of a node that has gone", tellsDelete},
		{"tells watchers of a node that was forgotten", tellsExpiry},
		{"tells watchers nothing when nothing has changed", tellsNothing},
		{"tells watchers of one service", tellsService},
		{"tells watchers of one domain", tellsDomain},
		{"tells watchers of all domains", tellsAllDomains},
		{"tells each watcher everything", tellsEach},
		{"tells a watcher that reads late", tellsLate},
		{"tells watchers with copies", tellsCopies},
		{"ends a watcher that is stopped", stops},
	}
}

// watching is a watcher whose results are read.
type watching struct {
	registry.Watcher
	results chan *registry.Result
	ended   chan struct{}
	err     error
	once    sync.Once
}

func watch(r registry.Registry, opts ...registry.WatchOption) (*watching, error) {
	inner, err := r.Watch(opts...)
	if err != nil {
		return nil, err
	}
	w := &watching{Watcher: inner, results: make(chan *registry.Result, 10_000), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			result, err := w.Next()
			if err != nil {
				w.err = err
				return
			}
			w.results <- result
		}
	}()
	return w, nil
}

// stop stops the watcher, and returns what it ends with.
func (w *watching) stop() error {
	w.once.Do(w.Stop)
	select {
	case <-w.ended:
		return w.err
	case <-time.After(soon):
		return errors.New("no return of Next after Stop")
	}
}

// event makes sure that a node is told of, and how: one of the actions, separated by slashes.
func (w *watching) event(actions string, s *registry.Service, n *registry.Node) error {
	timeout := time.After(soon + 2*ttl)
	var told []string
	for {
		select {
		case <-w.ended:
			return fmt.Errorf("the watcher has ended: %w", w.err)
		case <-timeout:
			return fmt.Errorf("no %s of node %s, but %v", actions, n.Id, told)
		case result := <-w.results:
			told = append(told, result.Action)
			of := result.Service
			if of.Name != s.Name || of.Version != s.Version || !strings.Contains("/"+actions+"/", "/"+result.Action+"/") {
				continue
			}
			if hasNode(of, n) == nil {
				return sameEndpoints(of.Endpoints, s.Endpoints)
			}
		}
	}
}

// nothing makes sure that nothing is told for a while.
func (w *watching) nothing() error {
	select {
	case result := <-w.results:
		return fmt.Errorf("%s of %s: expected nothing", result.Action, result.Service.Name)
	case <-w.ended:
		return fmt.Errorf("the watcher has ended: %w", w.err)
	case <-time.After(quiet):
		return nil
	}
}

// watched watches a registry while a case runs.
func watched(r registry.Registry, run func(w *watching) error, opts ...registry.WatchOption) error {
	w, err := watch(r, opts...)
	if err != nil {
		return err
	}
	err = run(w)
	_ = w.stop() // what it ends with has a case of its own
	return err
}

func tellsCreate(r registry.Registry) error {
	s := newService("create", "1", "2")
	s.Endpoints = endpoints("A.B")
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(with(s, s.Nodes[0])), w.event("create", s, s.Nodes[0]),
			r.Register(with(s, s.Nodes[1])), w.event("create/update", s, s.Nodes[1]),
		)
	}, registry.WatchService(s.Name))
}

func tellsUpdate(r registry.Registry) error {
	s := newService("update", "1")
	changed := newNode("1")
	changed.Address = "10.0.0.9:9"
	other := with(s, changed)
	other.Endpoints = endpoints("A.B")
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(s), w.event("create", s, s.Nodes[0]),
			r.Register(with(s, changed)), w.event("update", s, changed),
			r.Register(other), w.event("update", other, changed),
		)
	}, registry.WatchService(s.Name))
}

func tellsDelete(r registry.Registry) error {
	s := newService("delete", "1", "2")
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(s), w.event("create", s, s.Nodes[0]),
			r.Deregister(with(s, s.Nodes[0])), w.event("delete", s, s.Nodes[0]),
			r.Deregister(with(s, s.Nodes[1])), w.event("delete", s, s.Nodes[1]),
		)
	}, registry.WatchService(s.Name))
}

func tellsExpiry(r registry.Registry) error {
	s := newService("expiry", "1")
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(s, registry.RegisterTTL(ttl)), w.event("create", s, s.Nodes[0]), w.event("delete", s, s.Nodes[0]),
		)
	}, registry.WatchService(s.Name))
}

func tellsNothing(r registry.Registry) error {
	s := newService("nothing", "1")
	s.Endpoints, s.Metadata = endpoints("A.B"), map[string]string{"a": "1", "b": "2", "c": "3"}
	if err := r.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
		return err
	}
	return watched(r, func(w *watching) error {
		for range 3 {
			if err := r.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
				return err
			}
		}
		return casetest.First(w.nothing(), r.Deregister(newService("unknown", "1")), w.nothing())
	}, registry.WatchService(s.Name))
}

func tellsService(r registry.Registry) error {
	s, other := newService("one", "1"), newService("other", "1")
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(other), r.Deregister(other), w.nothing(),
			r.Register(s), w.event("create", s, s.Nodes[0]),
		)
	}, registry.WatchService(s.Name))
}

func tellsDomain(r registry.Registry) error {
	domain := newName("domain")
	s := newService("of a domain", "1")
	elsewhere := with(s, newNode("2"))
	if err := watched(r, func(w *watching) error {
		return casetest.First(
			r.Register(elsewhere), r.Register(elsewhere, registry.RegisterDomain(newName("another"))), w.nothing(),
			r.Register(s, registry.RegisterDomain(domain)), w.event("create", s, s.Nodes[0]),
		)
	}, registry.WatchDomain(domain), registry.WatchService(s.Name)); err != nil {
		return err
	}
	return watched(r, func(w *watching) error {
		return casetest.First(
			r.Deregister(s, registry.DeregisterDomain(domain)), w.nothing(),
			r.Deregister(elsewhere), w.event("delete", s, elsewhere.Nodes[0]),
		)
	}, registry.WatchService(s.Name))
}

func tellsAllDomains(r registry.Registry) error {
	s := newService("all domains", "1")
	return watched(r, func(w *watching) error {
		for _, domain := range []string{newName("a"), newName("b")} {
			if err := r.Register(s, registry.RegisterDomain(domain)); err != nil {
				return err
			}
			select {
			case result := <-w.results:
				if err := casetest.Expect(result.Service.Metadata["domain"] == domain, "the domain is %q", result.Service.Metadata["domain"]); err != nil {
					return err
				}
			case <-time.After(soon):
				return errors.New("nothing is told of a domain")
			}
			for drained := false; !drained; {
				drained = w.nothing() == nil // some tell it twice
			}
		}
		return nil
	}, registry.WatchDomain(registry.WildcardDomain), registry.WatchService(s.Name))
}

func tellsEach(r registry.Registry) error {
	s := newService("each", "1")
	return watched(r, func(one *watching) error {
		return watched(r, func(two *watching) error {
			return casetest.First(r.Register(s), one.event("create", s, s.Nodes[0]), two.event("create", s, s.Nodes[0]))
		})
	}, registry.WatchService(s.Name))
}

// late is how many nodes change before a watcher reads that reads late.
const late = 300

func tellsLate(r registry.Registry) error {
	s := newService("late")
	w, err := r.Watch(registry.WatchService(s.Name))
	if err != nil {
		return err
	}
	defer w.Stop()
	begin := time.Now()
	for i := range late {
		if err := r.Register(with(s, newNode(fmt.Sprint(i)))); err != nil {
			return err
		}
	}
	// It has held nobody up.
	if err := casetest.Expect(time.Since(begin) < 5*soon, "%d nodes took %s to register", late, time.Since(begin)); err != nil {
		return err
	}
	time.Sleep(quiet)
	told := make(chan error, 1)
	go func() {
		seen := make(map[string]bool)
		for len(seen) < late {
			result, err := w.Next()
			if err != nil {
				told <- fmt.Errorf("%d of %d nodes are told of: %w", len(seen), late, err)
				return
			}
			for _, n := range result.Service.Nodes {
				seen[n.Id] = true
			}
		}
		told <- nil
	}()
	select {
	case err := <-told:
		return err
	case <-time.After(5 * soon):
		return errors.New("some nodes are not told of")
	}
}

func tellsCopies(r registry.Registry) error {
	s := newService("copies", "1")
	s.Metadata, s.Endpoints = map[string]string{"team": "a"}, endpoints("A.B")
	return watched(r, func(w *watching) error {
		if err := r.Register(s); err != nil {
			return err
		}
		select {
		case result := <-w.results:
			spoil(result.Service)
		case <-time.After(soon):
			return errors.New("nothing is told")
		}
		return now(r, s.Name, byVersion{"1": {newNode("1")}})
	}, registry.WatchService(s.Name))
}

func stops(r registry.Registry) error {
	w, err := watch(r)
	if err != nil {
		return err
	}
	if err := w.stop(); !errors.Is(err, registry.ErrWatcherStopped) {
		return fmt.Errorf("a watcher that is stopped ends with %w: expected ErrWatcherStopped", err)
	}
	w.Stop() // once more is no mistake
	_, err = w.Next()
	return casetest.Expect(err != nil, "a watcher that was stopped goes on")
}
