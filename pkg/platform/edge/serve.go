package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service"
)

// drain is how long calls in flight may take when the process is told to stop.
const drain = 5 * time.Second

// Serve runs the core service "api".
func Serve(ctx *cli.Context) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	srv := service.Core("api")
	handler, err := New(Config{Client: client.DefaultClient, Services: registry.DefaultRegistry, Version: ctx.App.Version})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addresses.Of("api"))
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addresses.Of("api"), err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      DefaultTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Fatalf("The HTTP server ended: %v", err)
		}
	}()
	err = srv.Run()
	stopping, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return errors.Join(err, server.Shutdown(stopping))
}
