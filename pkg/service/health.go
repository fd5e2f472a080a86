package service

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// watchedRegistry remembers when the server was last registered. Micro itself only logs that it could not be.
type watchedRegistry struct {
	registry.Registry
	last atomic.Pointer[time.Time]
}

// Register registers a service.
func (w *watchedRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	now := time.Now() // it is believed from here, not from when the registry has answered
	err := w.Registry.Register(s, opts...)
	if err == nil {
		w.last.Store(&now)
	}
	return err
}

// Deregister takes a service out.
func (w *watchedRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	w.last.Store(nil)
	return w.Registry.Deregister(s, opts...)
}

// Registered is a check that others find the server.
func (s *Server) Registered(context.Context) error {
	last := s.registry.last.Load()
	if last == nil {
		return errors.New("it is not registered")
	}
	if age := time.Since(*last); age > s.Options().RegisterTTL {
		return errors.New("it was last registered " + age.Round(time.Second).String() + " ago")
	}
	return nil
}

// Alive is a check that the server takes calls: that somebody who connects is greeted as HTTP/2 has it, and that no lock
// on the way of a call is held for good. A server that has not started, or is stopping, is not asked.
func (s *Server) Alive(ctx context.Context) error {
	if !s.started.Load() {
		return nil
	}
	secure := insecure.NewCredentials()
	if s.tls != nil {
		secure = s.tls.Client(s.name)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.Options().Address,
		grpc.WithTransportCredentials(secure), grpc.WithDisableServiceConfig())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it fails only for one that is closed
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, state) {
			return errors.New("the server does not take connections")
		}
	}
	_, _ = s.resolve("") // the error is the answer
	if s.drain.enter() {
		s.drain.leave()
	}
	return nil
}
