package registrytest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/internal/casetest"
)

type byVersion = map[string][]*registry.Node

func finds(r registry.Registry) error {
	s := newService("finds", "1")
	return casetest.First(r.Register(s), now(r, s.Name, byVersion{"1": s.Nodes}))
}

func notThere(r registry.Registry) error {
	s := newService("not there", "1")
	found, err := r.ListServices(registry.ListDomain(newName("domain")))
	return casetest.First(
		now(r, s.Name, nil), now(r, s.Name, nil, registry.GetDomain(registry.WildcardDomain)),
		casetest.Expect(err == nil && len(found) == 0, "ListServices of a domain that is not there returns %v and %v", found, err),
		r.Deregister(s),
	)
}

func endpoints(names ...string) []*registry.Endpoint {
	var all []*registry.Endpoint
	for _, name := range names {
		all = append(all, &registry.Endpoint{
			Name: name, Metadata: map[string]string{"stream": "true", "": "empty", "ключ": "значение"},
			Request: &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{
				{Name: "id", Type: "string"}, {Name: "inner", Type: "Inner", Values: []*registry.Value{{Name: "n", Type: "int64"}}},
			}},
			Response: &registry.Value{Name: "Response", Type: "Response"},
		})
	}
	return all
}

func keeps(r registry.Registry) error {
	s := newService("keeps", "1")
	s.Metadata = map[string]string{"team": "a", "empty": "", "ключ": "значение"}
	s.Nodes[0].Metadata = map[string]string{"zone": "eu", "": "empty", "emptY": ""}
	s.Endpoints = endpoints("Keeps.Call", "Keeps.Stream")
	if err := casetest.First(r.Register(s), now(r, s.Name, byVersion{"1": s.Nodes})); err != nil {
		return err
	}
	found, err := one(r, s.Name)
	if err != nil {
		return err
	}
	return casetest.First(sameMetadata(found.Metadata, s.Metadata), sameEndpoints(found.Endpoints, s.Endpoints))
}

func nodes(r registry.Registry) error {
	s := newService("nodes", "1", "2")
	third := newNode("3")
	return casetest.First(
		r.Register(s), now(r, s.Name, byVersion{"1": s.Nodes}),
		r.Register(with(s, third)), now(r, s.Name, byVersion{"1": append(s.Nodes, third)}),
	)
}

func versions(r registry.Registry) error {
	one := newService("versions", "1")
	two := with(one, newNode("1")) // the same id, but of another version
	two.Version, two.Nodes[0].Address = "", "10.0.0.2:1"
	return casetest.First(
		r.Register(one), r.Register(two),
		now(r, one.Name, byVersion{"1": one.Nodes, "": two.Nodes}),
		r.Deregister(one), now(r, one.Name, byVersion{"": two.Nodes}),
	)
}

func replaces(r registry.Registry) error {
	s := newService("replaces", "1", "2")
	again := newNode("1")
	again.Address, again.Metadata = "10.0.0.9:9", map[string]string{"zone": "us"}
	return casetest.First(r.Register(s), r.Register(with(s, again)), listed(r, s.Name, byVersion{"1": {again, s.Nodes[1]}}))
}

func replacesEndpoints(r registry.Registry) error {
	s := newService("replaces endpoints", "1")
	s.Endpoints = endpoints("A.Old")
	other := with(s, s.Nodes...)
	other.Endpoints = endpoints("A.New", "A.Newer")
	if err := casetest.First(r.Register(s), r.Register(other)); err != nil {
		return err
	}
	return eventually(soon, func() error {
		found, err := one(r, s.Name)
		if err != nil {
			return err
		}
		return sameEndpoints(found.Endpoints, other.Endpoints)
	})
}

func takesOut(r registry.Registry) error {
	s := newService("takes out", "1", "2", "3")
	return casetest.First(
		r.Register(s),
		r.Deregister(with(s, s.Nodes[0])), now(r, s.Name, byVersion{"1": s.Nodes[1:]}),
		r.Deregister(with(s, s.Nodes[0])), now(r, s.Name, byVersion{"1": s.Nodes[1:]}),
		r.Deregister(with(s, s.Nodes[1:]...)), now(r, s.Name, nil),
	)
}

// ttl is the shortest that every registry can count.
const ttl = time.Second

func forgets(r registry.Registry) error {
	s := newService("forgets", "1", "2")
	return casetest.First(
		r.Register(with(s, s.Nodes[0])), r.Register(with(s, s.Nodes[1]), registry.RegisterTTL(ttl)),
		now(r, s.Name, byVersion{"1": s.Nodes}),
		eventually(5*ttl, func() error { return now(r, s.Name, byVersion{"1": s.Nodes[:1]}) }),
		// It is not remembered in any other way.
		r.Register(with(s, s.Nodes[1]), registry.RegisterTTL(ttl)), now(r, s.Name, byVersion{"1": s.Nodes}),
	)
}

func keepsOn(r registry.Registry) error {
	s := newService("keeps on", "1")
	for deadline := time.Now().Add(4 * ttl); time.Now().Before(deadline); time.Sleep(ttl / 5) {
		if err := casetest.First(r.Register(s, registry.RegisterTTL(ttl)), now(r, s.Name, byVersion{"1": s.Nodes})); err != nil {
			return err
		}
	}
	return nil
}

func keepsForever(r registry.Registry) error {
	s := newService("keeps for ever", "1")
	if err := casetest.First(r.Register(s, registry.RegisterTTL(ttl)), r.Register(s)); err != nil {
		return err
	}
	time.Sleep(3 * ttl)
	return now(r, s.Name, byVersion{"1": s.Nodes})
}

func domains(r registry.Registry) error {
	one, two := newName("one"), newName("two")
	s := newService("domains", "1")
	other := with(s, newNode("2"))
	if err := casetest.First(
		r.Register(s, registry.RegisterDomain(one)), r.Register(other, registry.RegisterDomain(two)),
		now(r, s.Name, nil), now(r, s.Name, nil, registry.GetDomain(registry.DefaultDomain)),
		now(r, s.Name, byVersion{"1": s.Nodes}, registry.GetDomain(one)),
		now(r, s.Name, byVersion{"1": other.Nodes}, registry.GetDomain(two)),
		r.Register(s), now(r, s.Name, byVersion{"1": s.Nodes}, registry.GetDomain(registry.DefaultDomain)), r.Deregister(s),
	); err != nil {
		return err
	}
	all, err := r.GetService(s.Name, registry.GetDomain(registry.WildcardDomain))
	if err := casetest.First(err, casetest.Expect(len(all) == 2, "GetService returns %d versions of all domains: expected 2", len(all))); err != nil {
		return err
	}
	for _, found := range all {
		want := map[string]string{one: "1", two: "2"}[found.Metadata["domain"]]
		if err := casetest.Expect(len(found.Nodes) == 1 && found.Nodes[0].Id == want, "domain %q has %v", found.Metadata["domain"], found.Nodes); err != nil {
			return err
		}
	}
	return casetest.First(
		r.Deregister(s), now(r, s.Name, byVersion{"1": s.Nodes}, registry.GetDomain(one)),
		r.Deregister(s, registry.DeregisterDomain(one)), now(r, s.Name, nil, registry.GetDomain(one)),
		now(r, s.Name, byVersion{"1": other.Nodes}, registry.GetDomain(two)),
	)
}

func lists(r registry.Registry) error {
	domain := newName("lists")
	a, b := newService("a", "1", "2"), newService("b", "1")
	old := with(a, newNode("3"))
	old.Version = "0"
	for _, s := range []*registry.Service{a, b, old} {
		if err := r.Register(s, registry.RegisterDomain(domain)); err != nil {
			return err
		}
	}
	has := func(all []*registry.Service, s *registry.Service) error {
		for _, found := range all {
			if found.Name == s.Name && found.Version == s.Version && len(found.Nodes) == len(s.Nodes) {
				return nil
			}
		}
		return fmt.Errorf("ListServices does not return version %s of %s", s.Version, s.Name)
	}
	found, err := r.ListServices(registry.ListDomain(domain))
	if err := casetest.First(err, casetest.Expect(len(found) == 3, "ListServices returns %d versions: expected 3", len(found)),
		has(found, a), has(found, b), has(found, old)); err != nil {
		return err
	}
	every, err := r.ListServices(registry.ListDomain(registry.WildcardDomain))
	if err := casetest.First(err, has(every, a), has(every, b), has(every, old)); err != nil {
		return err
	}
	standard, err := r.ListServices()
	return casetest.First(err, casetest.Expect(has(standard, a) != nil, "ListServices returns services of other domains"))
}

func anyName(r registry.Registry) error {
	for _, name := range []string{"a/b", "/", "..", "%2F", "%", "a b", "ключ", "*", "a\x00b", "a\nb"} {
		s := newService(name, name)
		s.Version = name
		domain := newName(name)
		if err := casetest.First(
			r.Register(s, registry.RegisterDomain(domain)),
			now(r, s.Name, byVersion{name: s.Nodes}, registry.GetDomain(domain)),
			r.Deregister(s, registry.DeregisterDomain(domain)), now(r, s.Name, nil, registry.GetDomain(domain)),
		); err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
	}
	return nil
}

// spoil changes whatever can be changed in a service.
func spoil(s *registry.Service) {
	s.Name, s.Version = "spoilt", "spoilt"
	s.Metadata["spoilt"] = "yes"
	for _, n := range s.Nodes {
		n.Id, n.Address = "spoilt", "spoilt"
		n.Metadata["spoilt"] = "yes"
	}
	for _, e := range s.Endpoints {
		e.Name = "spoilt"
		e.Metadata["spoilt"] = "yes"
		e.Request.Name = "spoilt"
		e.Request.Values[0].Name = "spoilt"
	}
}

func copies(r registry.Registry) error {
	s := newService("copies", "1")
	s.Metadata, s.Endpoints = map[string]string{"team": "a"}, endpoints("A.B")
	given := newService("copies", "1")
	given.Name, given.Metadata, given.Endpoints = s.Name, map[string]string{"team": "a"}, endpoints("A.B")
	if err := r.Register(given); err != nil {
		return err
	}
	spoil(given) // what it was given is somebody else's, too
	for range 2 {
		found, err := one(r, s.Name)
		if err := casetest.First(err, now(r, s.Name, byVersion{"1": s.Nodes})); err != nil {
			return err
		}
		if err := casetest.First(sameMetadata(found.Metadata, s.Metadata), sameEndpoints(found.Endpoints, s.Endpoints)); err != nil {
			return err
		}
		spoil(found)
		every, err := r.ListServices()
		if err != nil {
			return err
		}
		for _, one := range every {
			if one.Name == s.Name {
				spoil(one)
			}
		}
	}
	return nil
}

func changesNothing(r registry.Registry) error {
	make := func(name string) *registry.Service {
		s := &registry.Service{Name: name, Version: "1", Nodes: []*registry.Node{newNode("1")}, Endpoints: endpoints("A.B")}
		s.Metadata = map[string]string{"team": "a"}
		return s
	}
	name := newName("changes nothing")
	given := make(name)
	err := casetest.First(r.Register(given, registry.RegisterTTL(time.Minute)), r.Deregister(given))
	return casetest.First(err, casetest.Expect(reflect.DeepEqual(given, make(name)), "what was registered is changed to %+v", given))
}

func concurrent(r registry.Registry) error {
	s := newService("concurrent")
	var users errgroup.Group
	for i := range 20 {
		mine := with(s, newNode(fmt.Sprint(i)))
		users.Go(func() error {
			for range 5 {
				if err := casetest.First(r.Register(mine, registry.RegisterTTL(time.Minute)), r.Deregister(mine), r.Register(mine)); err != nil {
					return err
				}
				if _, err := r.GetService(s.Name); err != nil {
					return err
				}
				if _, err := r.ListServices(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := users.Wait(); err != nil {
		return err
	}
	var want []*registry.Node
	for i := range 20 {
		want = append(want, newNode(fmt.Sprint(i)))
	}
	return listed(r, s.Name, byVersion{"1": want})
}

func options(r registry.Registry) error {
	if err := casetest.First(r.Init(registry.Timeout(time.Minute)), r.Init(), r.Init(registry.Secure(true))); err != nil {
		return err
	}
	s := newService("options", "1")
	return casetest.First(
		casetest.Expect(r.Options().Timeout == time.Minute && r.Options().Secure, "the options are %+v", r.Options()),
		casetest.Expect(r.String() != "", "it has no name"),
		r.Register(s), now(r, s.Name, byVersion{"1": s.Nodes}),
	)
}
