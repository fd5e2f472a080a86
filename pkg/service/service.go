package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	micro "github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/broker"
	brokerclient "github.com/micro/micro/v3/service/broker/client"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/config"
	debug "github.com/micro/micro/v3/service/debug/handler"
	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/server"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/telemetry"
)

const (
	// RegisterInterval is how often a service tells the registry that it is there.
	RegisterInterval = 2 * time.Second
	// RegisterTTL is how long the registry believes it without hearing again.
	RegisterTTL = 10 * time.Second
	// DrainTimeout is how long a service that stops waits for the calls it is working on.
	DrainTimeout = 20 * time.Second
	// loopback is where a service listens unless MICRO_SERVICE_ADDRESS says otherwise: any free port, unreachable from
	// other machines.
	loopback = "127.0.0.1:0"
)

// Service is a Micro service with a strict edge. Use New to make one; a process has one.
type Service struct {
	micro    *micro.Service
	server   *Server
	observer *observer
	onStart  []func() error
	stopping []func()
	onStop   []func() error
}

// New sets Micro up for this process and returns its service. The name that the runtime gives in MICRO_SERVICE_NAME wins
// over name. As Micro's own constructor does, it ends the process when the setup fails, with one sentence that says why.
func New(name string) *Service {
	log, err := useLog(name)
	if err == nil {
		err = prepare()
	}
	if err != nil {
		exit(name, err)
	}
	return build(name, log, micro.Address(loopback))
}

// Core returns the service of one of the platform's own parts, as a command of the platform's binary. Where it listens and
// who it is have been set up by the profile.
func Core(name string) *Service {
	log, err := useLog(name)
	if err != nil {
		exit(name, err)
	}
	s := build(name, log)
	if err := s.server.Init(server.WrapHandler(trust)); err != nil {
		exit(name, err)
	}
	return s
}

func build(name string, log *slog.Logger, opts ...micro.Option) *Service {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		tuneGC()
	}
	addresses, err := state.LoadAddresses()
	if err != nil {
		exit(name, err)
	}
	// Micro's own clients of the core services are made of it while Micro is set up.
	certificates, err := openTLS(addresses, name)
	if err != nil {
		exit(name, err)
	}
	calling, serving := direct.Config{Fixed: addresses.All()}, []Option(nil)
	if certificates != nil {
		calling.Secure, serving = certificates.Client, append(serving, WithTLS(certificates))
	}
	caller := direct.New(calling)
	client.DefaultClient = caller
	// Micro's keeps calling the address that it was made with.
	if broker.DefaultBroker.String() == "service" {
		broker.DefaultBroker = brokerclient.NewBroker(broker.Addrs(addresses.Of("broker")))
	}
	s := &Service{micro: micro.New(append(opts,
		micro.Name(name),
		micro.RegisterInterval(RegisterInterval),
		micro.RegisterTTL(RegisterTTL),
		micro.HandleSignal(false), // Run does that
	)...)}
	// Micro drops the error of its own setup, for instance when it does not know a flag.
	if config.DefaultConfig == nil {
		exit(s.Name(), errors.New("setting up Micro failed: check the arguments and the MICRO_ environment variables"))
	}
	// Without the wrappers that Micro has put around the client: it sees to the header itself, and nobody reads the rest.
	observer, err := observe(s.Name(), s.micro.Version(), log, caller)
	if err != nil {
		exit(s.Name(), err)
	}
	all := stream.NewClient(client.DefaultClient)
	events.DefaultStream, events.DefaultStore = all, all
	if err := server.DefaultServer.Init(onlyWhatCounts); err != nil {
		exit(s.Name(), err)
	}
	strict, err := NewServer(server.DefaultServer, access.InspectShared, append(serving, WithRecorder(observer.recorder))...)
	if err != nil {
		exit(s.Name(), err)
	}
	// Everything in Micro that asks for the server, the Debug handler among it, goes through the strict one from here.
	server.DefaultServer = strict
	s.server, s.observer = strict, observer
	// After the last call, which may publish, and what was added by then, which may consume.
	s.OnStop(all.Close)
	return s
}

// openTLS reads who this process is to others, if the platform's processes prove that to each other; else it returns nil.
func openTLS(addresses state.Addresses, name string) (*mtls.Source, error) {
	name = cmp.Or(os.Getenv("MICRO_SERVICE_NAME"), name)
	dir := addresses.Certificates(name)
	if dir == "" {
		return nil, nil
	}
	source, err := mtls.Open(dir, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", state.TLSEnv, err)
	}
	return source, nil
}

// prepare does what has to happen before Micro's packages look at their environment.
func prepare() error {
	supervisor.EndWithParent()
	dir, err := state.Locate("")
	if err != nil {
		return err
	}
	if err := state.Use(dir); err != nil {
		return err
	}
	state.KeepPrivate()
	keys, err := token.OpenVerifier(state.Keys())
	if err != nil {
		return err
	}
	// Before Micro starts to use it in the background.
	auth.DefaultAuth = access.NewLocal(access.Config{Auth: auth.DefaultAuth, Inspect: keys.Inspect})
	return os.Setenv("MICRO_REPORT_USAGE", "false")
}

// Name is the name that the service is registered under.
func (s *Service) Name() string { return s.micro.Name() }

// Directory is where the service may keep files that are not in its database, by the name of what they are, such as "mail". It
// is below the state directory, beside those of other services, and not made yet.
func (s *Service) Directory(name string) string { return filepath.Join(state.Dir(), name) }

// Server is where handlers are registered, as in pb.RegisterCustomersHandler(srv.Server(), h).
func (s *Service) Server() server.Server { return s.server }

// Forward makes the service a proxy for all other services; see Server.Forward.
func (s *Service) Forward() { s.server.Forward(client.DefaultClient) }

// Check adds something that has to be well for the service to be ready for calls, as in srv.Check("database", db.Ping). The
// name is shown to whoever asks, the error is logged. It runs once a second at most, and fails after two seconds.
func (s *Service) Check(name string, f func(ctx context.Context) error) {
	s.observer.ready.Add(name, f)
}

// Recorder is where metrics of the service's own are registered, and what records calls that do not go through Micro's
// client.
func (s *Service) Recorder() *telemetry.Recorder { return s.observer.recorder }

// OnStart adds a function to be called when the service has begun to serve, as in srv.OnStart(bus.Start). When one fails,
// Run does.
func (s *Service) OnStart(f func() error) { s.onStart = append(s.onStart, f) }

// OnStopping adds a function to be called when the service is told to stop, before it waits for the calls that it is
// working on: it ends streams that do not end by themselves.
func (s *Service) OnStopping(f func()) { s.stopping = append(s.stopping, f) }

// OnStop adds a function to be called after the last call has been answered, as in srv.OnStop(db.Close). Functions run
// in the reverse of the order they were added in.
func (s *Service) OnStop(f func() error) { s.onStop = append(s.onStop, f) }

// Must does nothing when err is nil. Else it prints err as one line on standard error and ends the process with exit
// code 1, as a failed start is to end.
func (s *Service) Must(err error) {
	if err != nil {
		exit(s.Name(), err)
	}
}

// exit ends the process. The sentence is its last line, where the supervisor looks for it.
func exit(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
	os.Exit(1)
}

// Run serves until the process gets a SIGTERM or SIGINT, answers what it is working on and returns. It returns an error
// when the service cannot start, or when a function given to OnStop fails.
func (s *Service) Run() error {
	debugger := s.server.NewHandler(debug.NewHandler(), server.InternalHandler(true))
	if err := s.server.Handle(debugger); err != nil {
		return fmt.Errorf("register the Debug handler: %w", err)
	}
	// Listening for signals first: one that comes during the start must not kill the process half-way.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)

	if err := s.observer.start(s.Name(), s.server); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := s.micro.Start(); err != nil {
		return errors.Join(fmt.Errorf("start: %w", err), s.observer.stop())
	}
	for _, f := range s.onStart {
		if err := f(); err != nil {
			return errors.Join(fmt.Errorf("start: %w", err), s.end())
		}
	}
	logger.Infof("%s serves at %s and has its metrics at %s", s.Name(), s.server.Options().Address, s.observer.monitor.Address())
	<-stop
	return s.end()
}

// end stops serving, answers what is being worked on, and undoes the start.
func (s *Service) end() error {
	s.observer.ready.Drain()
	for _, f := range s.stopping {
		f()
	}

	stopped := make(chan error, 1)
	go func() { stopped <- s.micro.Stop() }()
	var err error
	select {
	case err = <-stopped:
	case <-time.After(DrainTimeout):
		err = fmt.Errorf("stop: calls were still being worked on after %s", DrainTimeout)
	}
	for i := len(s.onStop) - 1; i >= 0; i-- {
		err = errors.Join(err, s.onStop[i]())
	}
	return errors.Join(err, s.observer.stop())
}
