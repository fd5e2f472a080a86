package service

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/telemetry"
)

// workersPerCPU is how many calls are worked on without making a goroutine; any number more is, with one.
const workersPerCPU = 64

// method is one RPC that callers can reach: what is known of it when its handler is registered.
type method struct {
	// endpoint is the id of its errors, as "customers.Customers.Create".
	endpoint string
	desc     protoreflect.MethodDescriptor
	policy   auth.Policy
	record   *telemetry.Method
	// unary calls the handler; nil for one that Micro's server has to call.
	unary *unary
}

// Server is a Micro server that lets a call through only when its caller may make it, and when it is a valid message for a
// method of a registered proto service. It is for the gRPC server of Micro, the only one whose interceptors it can set.
type Server struct {
	server.Server
	inspect auth.Inspect
	drain   *drain
	// forwards makes the calls of other services, if the server is a proxy.
	forwards client.Client

	// tls is nil when connections are not encrypted.
	tls           *mtls.Source
	connectionAge time.Duration

	recorder *telemetry.Recorder
	unknown  *method // stands for all that there is not
	registry *watchedRegistry
	started  atomic.Bool

	// routes are the methods by what gRPC calls them, without the slash before it; replaced when there are more.
	routes atomic.Pointer[map[string]*method]

	mu       sync.RWMutex
	services map[string]map[string]*method // by the names of the proto service and the method
	name     string                        // what the server is registered as
	broken   error                         // why it must not start
}

// Option changes what a Server does besides serving.
type Option func(*Server)

// WithTLS makes a server take only connections of those who prove to be of the platform; see package mtls. Nil is without TLS.
func WithTLS(source *mtls.Source) Option { return func(s *Server) { s.tls = source } }

// withConnectionAge is how long a connection is kept with TLS, for tests.
func withConnectionAge(d time.Duration) Option { return func(s *Server) { s.connectionAge = d } }

// WithRecorder makes a server record its calls with r; else it has a Recorder of its own.
func WithRecorder(r *telemetry.Recorder) Option { return func(s *Server) { s.recorder = r } }

// NewServer makes inner strict. It has to be called before any handler is registered and after inner has its name and its
// registry. Tokens are good for which inspect finds an account, which is not changed: others may have it, too.
func NewServer(inner server.Server, inspect auth.Inspect, opts ...Option) (*Server, error) {
	if inner.String() != "grpc" {
		return nil, fmt.Errorf("the Micro server is %s: expected grpc", inner.String())
	}
	s := &Server{
		Server:   inner,
		inspect:  inspect,
		drain:    newDrain(),
		services: make(map[string]map[string]*method),
		name:     inner.Options().Name,
		registry: &watchedRegistry{Registry: inner.Options().Registry},

		connectionAge: mtls.ConnectionAge,
	}
	s.routes.Store(&map[string]*method{})
	for _, o := range opts {
		o(s)
	}
	if s.recorder == nil {
		s.recorder = telemetry.New(telemetry.Config{})
	}
	s.unknown = &method{endpoint: s.name, record: s.recorder.Method(s.name, telemetry.Unknown, false)}
	return s, inner.Init(
		server.Registry(s.registry),
		server.WrapHandler(translateErrors),
		server.Wait(s.drain.held()),
		grpcserver.MaxRecvMsgSize(maxReceived),
		grpcserver.Codec(decodedContentType, decodedCodec{}),
	)
}

// Handle binds each method of the handler to the method of its proto service and registers it. The handler is what
// generated code makes (pb.RegisterCustomersHandler), or anything of the same shape: its type has the name of the proto
// service, its methods have the names and the messages of the service's, and each of them declares who may call it. A
// handler that does not fit is an error here, and again in Start, so that one whose error was ignored does not end up
// served.
func (s *Server) Handle(h server.Handler) error {
	desc, err := serviceOf(h.Handler())
	if err == nil {
		err = s.bind(desc, h.Handler())
	}
	if err == nil {
		s.publish(h)
		err = s.Server.Handle(h)
	}
	if err != nil {
		err = fmt.Errorf("register handler %s: %w", h.Name(), err)
		s.mu.Lock()
		s.broken = errors.Join(s.broken, err)
		s.mu.Unlock()
	}
	return err
}

func (s *Server) bind(desc protoreflect.ServiceDescriptor, handler any) error {
	name := string(desc.Name())
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.services[name]; ok {
		return fmt.Errorf("there is a handler of that name already")
	}
	methods := make(map[string]*method)
	for i := range desc.Methods().Len() {
		m := desc.Methods().Get(i)
		policy, err := auth.PolicyOf(m)
		if err != nil {
			return err
		}
		isStream := m.IsStreamingClient() || m.IsStreamingServer()
		methods[string(m.Name())] = &method{
			endpoint: strings.Join([]string{s.name, name, string(m.Name())}, "."),
			desc:     m,
			policy:   policy,
			record:   s.recorder.Method(s.name, name+"."+string(m.Name()), isStream),
		}
		if !isStream {
			methods[string(m.Name())].unary = unaryOf(handler, s.name, name+"."+string(m.Name()))
		}
	}
	s.services[name] = methods
	s.route(desc, methods)
	return nil
}

// route adds the paths of methods: /customers.Customers/Create. Micro's client puts the registered name of the service before
// the proto service, stock gRPC clients its proto package; Micro's server takes anything there. s.mu is held.
func (s *Server) route(desc protoreflect.ServiceDescriptor, methods map[string]*method) {
	routes := maps.Clone(*s.routes.Load())
	for name, m := range methods {
		for _, prefix := range []string{s.name, string(desc.ParentFile().Package())} {
			if prefix != "" {
				prefix += "."
			}
			routes[prefix+string(desc.Name())+"/"+name] = m
		}
	}
	s.routes.Store(&routes)
}

// publish writes for whom each endpoint is to where the registry learns of it, so that the HTTP API knows which ones are
// reachable from outside, and whether calling it changes anything or may be repeated, or takes HTTP as it is, for callers without
// its proto.
func (s *Server) publish(h server.Handler) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range h.Endpoints() {
		service, name, _ := strings.Cut(e.Name, ".")
		if m, ok := s.services[service][name]; ok {
			if e.Metadata == nil {
				e.Metadata = make(map[string]string)
			}
			e.Metadata[auth.EndpointKey] = m.policy.Access.String()
			if level := direct.Level(m.desc); level != "" {
				e.Metadata[direct.LevelKey] = level
			}
			if direct.Raw(m.desc) {
				e.Metadata[direct.RawKey] = "true"
			}
		}
	}
}

// resolve finds the method that a gRPC path names.
func (s *Server) resolve(path string) (*method, error) {
	m, ok := (*s.routes.Load())[strings.TrimPrefix(path, "/")]
	if !ok {
		return s.unknown, merrors.NotFound(s.name, "there is no such endpoint")
	}
	return m, nil
}

// Start starts the server, unless a handler could not be registered.
func (s *Server) Start() error {
	s.mu.RLock()
	err := s.broken
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	// Only now, because Micro makes a server for gRPC at each Init, and each has its workers.
	options := []grpc.ServerOption{
		grpc.ChainStreamInterceptor(s.intercept),
		grpc.StaticStreamWindowSize(direct.StreamWindow),
		grpc.StaticConnWindowSize(direct.ConnectionWindow),
		// A new goroutine for each call would have its stack grown each time.
		grpc.NumStreamWorkers(uint32(workersPerCPU * runtime.GOMAXPROCS(0))),
	}
	if s.tls != nil {
		options = append(options, grpc.Creds(s.tls.Server()),
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: s.connectionAge}))
	}
	if err := s.Init(grpcserver.Options(options...)); err != nil {
		return err
	}
	s.wrapHandlers()
	if err := s.Server.Start(); err != nil {
		return err
	}
	s.started.Store(true)
	return nil
}

// wrapHandlers puts around our handlers what Micro's server puts around all others.
func (s *Server) wrapHandlers() {
	wrappers := s.Options().HdlrWrappers
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, methods := range s.services {
		for _, m := range methods {
			if m.unary != nil {
				m.unary.wrap(wrappers)
			}
		}
	}
}

// Stop leaves the registry, waits for the calls that are being worked on, however long they take, and stops the server.
func (s *Server) Stop() error {
	// Micro leaves the registry, too, but says nothing when it has: refusing calls must not begin before.
	if d, ok := s.Server.(interface{ Deregister() error }); ok {
		if err := d.Deregister(); err != nil {
			logger.Warnf("%s: leave the registry: %v", s.name, err)
		}
	}
	s.started.Store(false)
	s.drain.begin()
	return s.Server.Stop()
}
