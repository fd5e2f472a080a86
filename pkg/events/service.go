package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/database"
	pb "github.com/m3o/backend/pkg/events/deadletters"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/service"
)

// Open returns the bus of a service of the platform, which keeps what it needs in the service's database. It is started
// and stopped with the service, shows in its metrics and its health, and its dead letters are at the service's RPCs
// DeadLetters. Consumers have to be added before the service runs.
func Open(srv *service.Service, db *database.DB) (*Bus, error) {
	s, ok := events.DefaultStream.(stream.Stream)
	if !ok {
		return nil, errors.New("events: the platform's stream is not set up")
	}
	b, err := New(context.Background(), Config{DB: db, Stream: s, Metrics: srv.Recorder().Registry()})
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	srv.Check("events", b.Check)
	srv.OnStart(b.Start)
	srv.OnStop(b.Stop)
	return b, pb.RegisterDeadLettersHandler(srv.Server(), b.DeadLetters())
}
