package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/platform/etcd"
)

const (
	// nodes are registered, in equal parts by so many services.
	nodes, registered = 10_000, 100
	// clients watch all of them.
	clients = 10
	// changes are made one after the other.
	changes = 50
	// registering is how many registrations are made at once, as callers of the core service make them.
	registering = 64
)

// service is one of the services, with one of its nodes and a few endpoints, as ours have them.
func service(i int) *registry.Service {
	s := &registry.Service{
		Name: fmt.Sprintf("service-%d", i%registered), Version: "latest",
		Nodes: []*registry.Node{{
			Id: fmt.Sprintf("node-%d", i), Address: fmt.Sprintf("10.0.%d.%d:8000", i/250, i%250),
			Metadata: map[string]string{"transport": "grpc", "server": "grpc", "protocol": "grpc"},
		}},
	}
	for _, method := range []string{"Create", "Read", "Update", "Delete", "List"} {
		s.Endpoints = append(s.Endpoints, &registry.Endpoint{
			Name:     "Things." + method,
			Request:  &registry.Value{Name: method + "Request", Type: method + "Request", Values: []*registry.Value{{Name: "id", Type: "string"}}},
			Response: &registry.Value{Name: method + "Response", Type: method + "Response"},
			Metadata: map[string]string{"access": "customer", "level": "idempotent"},
		})
	}
	return s
}

func openRegistry() (*etcd.Registry, error) {
	config, err := etcd.ReadConfig()
	if err != nil {
		return nil, err
	}
	return etcd.Open(config)
}

// measureRegistry has many nodes registered and watched by several clients, each a process that knows all of them, and measures
// how long a change takes until each has seen it.
func measureRegistry(_ context.Context, report *bench.Report, dir string) (err error) {
	r, err := openRegistry()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	began := time.Now()
	if err := register(r); err != nil {
		return err
	}
	report.Figure("registry-register", nodes/time.Since(began).Seconds(), "nodes/s")

	ps := &process.Group{Dir: dir}
	defer ps.Stop()
	all := make([]*process.Process, clients)
	for i := range all {
		if all[i], err = ps.Start("registry-client", ""); err != nil {
			return err
		}
	}
	for _, p := range all { // it knows them all
		if known, err := p.Ask("know"); err != nil || known != nodes {
			return errors.Join(fmt.Errorf("a client knows %.0f nodes", known), err)
		}
	}
	var slowest []float64
	for i := range changes {
		seen := make([]error, clients)
		var wg sync.WaitGroup
		number := strconv.Itoa(i)
		for c, p := range all {
			if _, err := p.Ask("await " + number); err != nil {
				return err
			}
			wg.Go(func() { _, seen[c] = p.Ask("seen") })
		}
		changed := service(nodes)
		changed.Name, changed.Nodes[0].Metadata["number"] = "changing", number
		began := time.Now()
		if err := r.Register(changed, registry.RegisterTTL(time.Minute)); err != nil {
			return err
		}
		if wg.Wait(); errors.Join(seen...) != nil {
			return errors.Join(seen...)
		}
		slowest = append(slowest, float64(time.Since(began))/float64(time.Millisecond))
	}
	worst := 0.0
	for _, took := range slowest {
		worst = max(worst, took)
	}
	report.Figure("registry-change-seen-by-all-median", bench.Median(slowest), "ms")
	report.AtMost("registry-change-seen-by-all-worst", worst, "ms", 200)
	used := 0.0
	for _, p := range all {
		resident, err := p.Resident()
		if err != nil {
			return err
		}
		used = max(used, resident)
	}
	report.AtMost("registry-memory-of-a-client", used, "MiB", 100)
	return nil
}

func register(r registry.Registry) error {
	next := make(chan int)
	failed := make(chan error, registering)
	var wg sync.WaitGroup
	for range registering {
		wg.Go(func() {
			for i := range next {
				if err := r.Register(service(i), registry.RegisterTTL(10*time.Minute)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < nodes && err == nil; i++ {
		select {
		case next <- i:
		case err = <-failed:
		}
	}
	close(next)
	wg.Wait()
	close(failed)
	return errors.Join(err, <-failed)
}

// runRegistryClient knows all services, and tells when it sees a change.
func runRegistryClient() error {
	r, err := openRegistry()
	if err != nil {
		return err
	}
	w, err := r.Watch(registry.WatchService("changing"))
	if err != nil {
		return err
	}
	numbers := make(chan string, changes)
	go func() {
		for {
			result, err := w.Next()
			if err != nil {
				return
			}
			for _, node := range result.Service.Nodes {
				numbers <- node.Metadata["number"]
			}
		}
	}()
	waiting := ""
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var what, number string
		_, _ = fmt.Sscan(in.Text(), &what, &number) // a number comes with "await" only
		switch what {
		case "know":
			known, err := know(r)
			if err != nil {
				return err
			}
			fmt.Println(known)
		case "await":
			waiting = number
			fmt.Println(0)
		case "seen":
			for n := range numbers {
				if n == waiting {
					break
				}
			}
			fmt.Println(1)
		}
	}
	return nil
}

// know looks all services up and returns how many nodes they have.
func know(r registry.Registry) (int, error) {
	known := 0
	for i := range registered {
		found, err := r.GetService(fmt.Sprintf("service-%d", i))
		if err != nil {
			return 0, err
		}
		for _, s := range found {
			known += len(s.Nodes)
		}
	}
	return known, nil
}
