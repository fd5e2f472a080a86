// Package registrytest is what holds for every registry of services, as cases that an engine or a client is put to. They need
// nothing but Micro's own interface, so that they can be put to Micro's registries as well.
package registrytest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/internal/casetest"
)

const (
	// soon is within what time something has to happen that is to happen at once.
	soon = 2 * time.Second
	// quiet is for how long nothing may happen that is not to happen.
	quiet = 300 * time.Millisecond
)

// Case is something that holds for every registry. It takes names of its own, so that cases can run at the same time.
type Case struct {
	Name string
	Run  func(r registry.Registry) error
}

// Run puts a registry to all cases.
func Run(t *testing.T, r registry.Registry) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Run(r); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Failing returns the names of the cases that a registry fails. Each gets a registry of its own.
func Failing(open func() registry.Registry) []string {
	all := Cases()
	failed := make([]bool, len(all))
	var running sync.WaitGroup
	for i, c := range all {
		r := open()
		running.Go(func() { failed[i] = c.Run(r) != nil })
	}
	running.Wait()
	var failing []string
	for i, c := range all {
		if failed[i] {
			failing = append(failing, c.Name)
		}
	}
	return failing
}

// Cases are all cases.
func Cases() []Case {
	return append(watchCases(),
		Case{"finds what is registered", finds},
		Case{"says what is not there", notThere},
		Case{"keeps metadata and endpoints", keeps},
		Case{"keeps the nodes of a version together", nodes},
		Case{"tells versions apart", versions},
		Case{"replaces a node that is registered again", replaces},
		Case{"replaces the endpoints of a version", replacesEndpoints},
		Case{"takes a node out", takesOut},
		Case{"forgets what is not registered again", forgets},
		Case{"keeps what is registered again", keepsOn},
		Case{"keeps what is registered for ever", keepsForever},
		Case{"tells domains apart", domains},
		Case{"lists all services", lists},
		Case{"takes any name", anyName},
		Case{"answers with copies", copies},
		Case{"does not change what it is given", changesNothing},
		Case{"is used by many at once", concurrent},
		Case{"keeps the options it had", options},
	)
}

// newName is a name that nobody else has.
func newName(what string) string { return what + "-" + uuid.NewString() }

// newService is a service under a name of its own, with nodes.
func newService(what string, nodes ...string) *registry.Service {
	s := &registry.Service{Name: newName(what), Version: "1"}
	for _, id := range nodes {
		s.Nodes = append(s.Nodes, newNode(id))
	}
	return s
}

func newNode(id string) *registry.Node {
	return &registry.Node{Id: id, Address: "10.0.0.1:" + id, Metadata: map[string]string{"protocol": "grpc"}}
}

// with is the service with other nodes.
func with(s *registry.Service, nodes ...*registry.Node) *registry.Service {
	other := *s
	other.Nodes = nodes
	return &other
}

// eventually waits until something holds that has to soon, and returns the last error if it does not.
func eventually(within time.Duration, check func() error) error {
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if err := check(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// listed makes sure that a registry finds these nodes of a service, and no others. It does not have to at once.
func listed(r registry.Registry, name string, want map[string][]*registry.Node, opts ...registry.GetOption) error {
	return eventually(soon, func() error { return now(r, name, want, opts...) })
}

// one returns the only version of a service.
func one(r registry.Registry, name string) (*registry.Service, error) {
	found, err := r.GetService(name)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("GetService returns %d versions: expected 1", len(found))
	}
	return found[0], nil
}

// now makes sure that a registry finds these nodes, by version.
func now(r registry.Registry, name string, want map[string][]*registry.Node, opts ...registry.GetOption) error {
	found, err := r.GetService(name, opts...)
	if len(want) == 0 {
		return casetest.Expect(errors.Is(err, registry.ErrNotFound), "GetService returns %v and %v: expected ErrNotFound", found, err)
	}
	if err != nil {
		return err
	}
	if len(found) != len(want) {
		return fmt.Errorf("GetService returns %d versions: expected %d", len(found), len(want))
	}
	for _, s := range found {
		nodes, ok := want[s.Version]
		if !ok || s.Name != name || len(s.Nodes) != len(nodes) {
			return fmt.Errorf("GetService returns %s, version %s, with %d nodes: expected other nodes", s.Name, s.Version, len(s.Nodes))
		}
		for _, wanted := range nodes {
			if err := hasNode(s, wanted); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasNode(s *registry.Service, want *registry.Node) error {
	for _, n := range s.Nodes {
		if n.Id == want.Id {
			return casetest.First(
				casetest.Expect(n.Address == want.Address, "the address of node %s is %s: expected %s", n.Id, n.Address, want.Address),
				sameMetadata(n.Metadata, want.Metadata),
			)
		}
	}
	return fmt.Errorf("node %s is missing", want.Id)
}

// sameMetadata makes sure that metadata is as it was given, but for the domain, which a registry may add.
func sameMetadata(got, want map[string]string) error {
	got, want = maps.Clone(got), maps.Clone(want)
	delete(got, "domain")
	delete(want, "domain")
	return casetest.Expect(maps.Equal(got, want), "metadata %v: expected %v", got, want)
}

func sameEndpoints(got, want []*registry.Endpoint) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d endpoints: expected %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if err := casetest.First(
			casetest.Expect(g.Name == w.Name, "endpoint %s: expected %s", g.Name, w.Name),
			sameMetadata(g.Metadata, w.Metadata), sameValue(g.Request, w.Request), sameValue(g.Response, w.Response),
		); err != nil {
			return err
		}
	}
	return nil
}

func sameValue(got, want *registry.Value) error {
	if got == nil || want == nil {
		return casetest.Expect(reflect.DeepEqual(got, want), "value %+v: expected %+v", got, want)
	}
	if got.Name != want.Name || got.Type != want.Type || len(got.Values) != len(want.Values) {
		return fmt.Errorf("value %+v: expected %+v", got, want)
	}
	for i := range want.Values {
		if err := sameValue(got.Values[i], want.Values[i]); err != nil {
			return err
		}
	}
	return nil
}
