package profile

import (
	"context"

	"github.com/m3o/backend/pkg/service"
)

// opened are the engines that this process has opened, each with what looks after it.
var opened []engine

type engine struct {
	name  string
	check func(ctx context.Context) error
	close func() error
}

// Observe has a core service be ready only when the engines are well that it works with, and closes them when it has stopped.
func Observe(srv *service.Service) {
	for _, e := range opened {
		srv.Check(e.name, e.check)
		srv.OnStop(e.close)
	}
}

// OpenStream opens the event stream of a profile, for the process that is the events service.
func OpenStream(profile string) (Stream, error) {
	if profile == Platform {
		return platformStream()
	}
	return embeddedStream()
}
