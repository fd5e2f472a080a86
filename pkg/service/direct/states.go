package direct

import (
	"sync"

	"google.golang.org/grpc/connectivity"
)

// Report has f told of the connections of the client, from those that there are now on: that one to a service has changed from
// one state to another, in the words of gRPC's connectivity package ("READY"). One that is new has no state before, one that
// is gone has none after: "". An address that callers name counts for the service that was called there first. f must not call
// the client.
func (c *Client) Report(f func(service, before, after string)) { c.directory.pool.states.tell(f) }

// states tells of the states of a pool's connections, by the services that they are for. What is told is in order: the state
// before is always the one that was told last.
type states struct {
	mu     sync.Mutex
	report func(service, before, after string) // nil as long as nobody wants to know
	uses   map[*peer]*uses
}

// uses is what a connection is for.
type uses struct {
	state    connectivity.State
	services map[string]int // how many lists of nodes of each service it is on
}

func (s *states) tell(f func(service, before, after string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = f
	for _, u := range s.uses {
		for service := range u.services {
			f(service, "", u.state.String())
		}
	}
}

func (s *states) say(service, before, after string) {
	if s.report != nil && before != after {
		s.report(service, before, after)
	}
}

// join says that a connection is for a service, once more.
func (s *states) join(p *peer, service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uses[p]
	if !ok {
		u = &uses{state: connectivity.State(p.state.Load()), services: make(map[string]int)}
		if s.uses == nil {
			s.uses = make(map[*peer]*uses)
		}
		s.uses[p] = u
	}
	if u.services[service]++; u.services[service] == 1 {
		s.say(service, "", u.state.String())
	}
}

// leave takes back a join.
func (s *states) leave(p *peer, service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uses[p]
	if !ok {
		return // the client is closed
	}
	if u.services[service]--; u.services[service] == 0 {
		delete(u.services, service)
		s.say(service, u.state.String(), "")
	}
	if len(u.services) == 0 {
		delete(s.uses, p)
	}
}

// changed takes in the state that a connection has now, unless it is for nothing.
func (s *states) changed(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uses[p]
	if !ok {
		return
	}
	before := u.state
	u.state = connectivity.State(p.state.Load())
	for service := range u.services {
		s.say(service, before.String(), u.state.String())
	}
}

// end says that there are no connections any more.
func (s *states) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uses {
		for service := range u.services {
			s.say(service, u.state.String(), "")
		}
	}
	clear(s.uses)
}
