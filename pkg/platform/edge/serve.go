package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/config"
	configclient "github.com/micro/micro/v3/service/config/client"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	"github.com/urfave/cli/v2"
	"golang.org/x/net/netutil"

	"github.com/m3o/backend/pkg/gateway"
	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service"
)

const (
	// drain is how long calls in flight may take when the process is told to stop.
	drain = 5 * time.Second
	// configPatience is how long the start waits for the core service "config", which may be starting as well.
	configPatience = 30 * time.Second
)

// AddressEnv is the environment variable that says where the HTTP server listens, as host:port, if that is not where others
// reach it: :8080 in a container.
const AddressEnv = "MICRO_API_ADDRESS"

// Serve runs the core service "api".
func Serve(ctx *cli.Context) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	srv := service.Core("api")
	profile.Observe(srv)
	settings, err := readSettings(ctx.Context)
	if err != nil {
		return err
	}
	keyed, err := newGateway(srv, settings)
	if err != nil {
		return err
	}
	handler, err := New(Config{
		Client: client.DefaultClient, Services: registry.DefaultRegistry, Version: ctx.App.Version, Settings: settings,
		Gateway: keyed,
	})
	if err != nil {
		return err
	}
	address := cmp.Or(os.Getenv(AddressEnv), addresses.Of("api"))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	server := newServer(handler, settings.timeout(), defaultLimits)
	go func() {
		err := server.Serve(netutil.LimitListener(listener, settings.MaxConnections))
		if !errors.Is(err, http.ErrServerClosed) {
			logger.Fatalf("The HTTP server ended: %v", err)
		}
	}()
	err = srv.Run()
	stopping, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	err = errors.Join(err, server.Shutdown(stopping), keyed.Close())
	flushLog(logger.DefaultLogger)
	return err
}

// newGateway returns the gateway of this process, which calls other services as the API does.
func newGateway(srv *service.Service, settings Settings) (*gateway.Gateway, error) {
	config := gateway.Services(client.DefaultClient, auth.DefaultAuth.Options().Secret)
	config.Dir, config.JournalBytes = state.Journal(), settings.Gateway.JournalBytes
	config.Registerer = srv.Recorder().Registry()
	g, err := gateway.New(config)
	if err != nil {
		return nil, err
	}
	srv.Check("gateway", g.Check)
	return g, nil
}

// readSettings reads the settings as any service does, from the service "config". A core process would read its own store
// instead, where nobody has set anything.
func readSettings(ctx context.Context) (Settings, error) {
	config.DefaultConfig = configclient.NewConfig("")
	ctx, cancel := context.WithTimeout(ctx, configPatience)
	defer cancel()
	var unread error
	err := launch.Poll(ctx, func() (bool, error) {
		_, unread = config.Get(ConfigKey)
		return unread == nil, nil
	})
	if err != nil {
		return Settings{}, fmt.Errorf("read configuration %s: %w", ConfigKey, errors.Join(unread, err))
	}
	settings := DefaultSettings()
	err = service.Config(ConfigKey, &settings)
	return settings, err
}

// limits is how long a connection may take for what.
type limits struct {
	header, request, answer, idle time.Duration
}

var defaultLimits = limits{
	header: 5 * time.Second, request: 30 * time.Second, answer: 10 * time.Second, idle: time.Minute,
}

func newServer(h http.Handler, timeout time.Duration, l limits) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: l.header,
		ReadTimeout:       l.request,
		// It runs from the end of the header on: over the body, the call and the answer.
		WriteTimeout: l.request + timeout + l.answer,
		IdleTimeout:  l.idle,
		// Above what the handler takes, which can say in JSON that it was too much.
		MaxHeaderBytes:               4 * maxHeader,
		DisableGeneralOptionsHandler: true, // it answers OPTIONS * in its own way
	}
}
