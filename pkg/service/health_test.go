package service_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/registry"
	memreg "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service"
)

// flaky is a registry that can be switched off.
type flaky struct {
	registry.Registry
	off atomic.Bool
}

func (f *flaky) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	if f.off.Load() {
		return errors.New("away")
	}
	return f.Registry.Register(s, opts...)
}

func TestRegisteredAndAlive(t *testing.T) {
	t.Parallel()
	reg := &flaky{Registry: memreg.NewRegistry()}
	inner := grpcserver.NewServer(
		server.Name("shaper"), server.Address("127.0.0.1:0"), server.Broker(memory.NewBroker()), server.Registry(reg),
		server.RegisterInterval(10*time.Millisecond), server.RegisterTTL(200*time.Millisecond),
	)
	s, err := service.NewServer(inner, nil)
	require.NoError(t, err)
	require.ErrorContains(t, s.Registered(t.Context()), "not registered")
	require.NoError(t, s.Alive(t.Context()), "what has not started is not wedged")
	require.NoError(t, s.Start())
	require.NoError(t, s.Registered(t.Context()))
	require.NoError(t, s.Alive(t.Context()))

	reg.off.Store(true)
	require.Eventually(t, func() bool { return s.Registered(t.Context()) != nil }, 5*time.Second, 10*time.Millisecond)
	reg.off.Store(false)
	require.Eventually(t, func() bool { return s.Registered(t.Context()) == nil }, 5*time.Second, 10*time.Millisecond)

	require.NoError(t, s.Stop())
	require.ErrorContains(t, s.Registered(t.Context()), "not registered")
	require.NoError(t, s.Alive(t.Context()), "what stops is not wedged either")
}

// A server that has lost its socket without being told to stop is one to start anew.
func TestNotAlive(t *testing.T) {
	t.Parallel()
	lost := &losable{Server: grpcserver.NewServer(
		server.Name("shaper"), server.Address("127.0.0.1:0"), server.Broker(memory.NewBroker()), server.Registry(memreg.NewRegistry()),
	)}
	s, err := service.NewServer(lost, nil)
	require.NoError(t, err)
	require.NoError(t, s.Start())
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	require.NoError(t, s.Alive(t.Context()))
	lost.address = "127.0.0.1:1"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.ErrorContains(t, s.Alive(ctx), "does not take connections")
}

// losable is a server whose address may be one where nobody listens.
type losable struct {
	server.Server
	address string
}

func (l *losable) Options() server.Options {
	o := l.Server.Options()
	if l.address != "" {
		o.Address = l.address
	}
	return o
}
