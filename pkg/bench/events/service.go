package main

import (
	"errors"

	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/server"

	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/platform/core"
	"github.com/m3o/backend/pkg/service"
)

// serviceName is the name of the events service.
const serviceName = "events"

// startEvents starts the events service. It collects garbage as the core service does, which is no service of ours.
func startEvents(ps *process.Group) (*process.Process, error) { return ps.Serve("events", "GOGC=100") }

// runEvents is the events service.
func runEvents() error {
	srv := service.New(serviceName)
	if err := errors.Join(process.UseAuth(), process.GrantAll()); err != nil {
		return err
	}
	if err := srv.Server().Init(server.Address(process.Address())); err != nil {
		return err
	}
	if err := core.ServeEvents(srv); err != nil {
		return err
	}
	return srv.Run()
}

// user makes this child a service that uses the events service.
func user() error {
	service.New(process.CallerName)
	return errors.Join(process.UseAuth(), registry.DefaultRegistry.Register(&registry.Service{
		Name: serviceName, Version: "latest", Nodes: []*registry.Node{{Id: serviceName, Address: process.Address()}},
	}))
}
