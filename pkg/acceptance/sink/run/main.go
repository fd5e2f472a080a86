// Command run runs the sink that stands in for Mixpanel: bin/sink -address 127.0.0.1:8090 -dir .micro/stand-ins/mixpanel.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/m3o/backend/pkg/acceptance/sink"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

func main() {
	supervisor.EndWithParent()
	address := flag.String("address", "127.0.0.1:8090", "where to listen: on loopback only")
	dir := flag.String("dir", "", "where to keep the events")
	flag.Parse()
	if err := run(*address, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(address, dir string) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
		return errors.New("-address: expected a loopback address with a port, such as 127.0.0.1:8090")
	}
	s, err := sink.Open(sink.Config{Dir: dir})
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	l, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	server := &http.Server{Handler: s.Handler(), ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
	case <-stop.Done():
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		err = server.Shutdown(ctx)
	}
	return errors.Join(err, s.Close())
}
