package profile

import (
	"context"
	"sync"

	"github.com/m3o/backend/pkg/service"
)

// engine is what this process has opened, with what looks after it.
type engine struct {
	name  string
	check func(ctx context.Context) error
	close func() error
}

// list is a list of engines.
type list struct {
	mu  sync.Mutex
	all []engine
}

// opened are those of this process.
var opened list

func (l *list) add(e engine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// take takes them all out.
func (l *list) take() []engine {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// Observe has a core service be ready only when the engines are well that it works with, and closes them when it has stopped.
func Observe(srv *service.Service) {
	for _, e := range opened.take() {
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
