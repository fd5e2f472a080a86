// Usage counts what customers call, and knows how much of it they may.
package main

import (
	"context"
	stderrors "errors"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/erasure"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/usage/handler"
	pb "github.com/m3o/backend/usage/proto"
	core "github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/migrations"
	"github.com/m3o/backend/usage/subscriber"
)

func main() {
	srv := service.New("usage")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	db, err := database.Open("usage", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	bus, err := events.Open(srv, db)
	if err != nil {
		return err
	}
	settings := core.DefaultSettings()
	if err := service.Config("micro.usage", &settings); err != nil {
		return err
	}
	usage, err := core.New(core.Config{DB: db, Outbox: bus, Settings: settings})
	if err != nil {
		return err
	}
	if err := consume(db, bus, usage); err != nil {
		return err
	}
	if err := bus.Every("sweep", time.Hour, usage.SweepOld); err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: usage})
	if err != nil {
		return err
	}
	return pb.RegisterUsageHandler(srv.Server(), h)
}

// consume adds what keeps up with others.
func consume(db *database.DB, bus *events.Bus, usage *core.Usage) error {
	erased, err := erasure.Open(db, bus, func(ctx context.Context, tx database.Querier, c erasure.Customer) (bool, error) {
		return true, usage.Erase(ctx, tx, c.ID)
	})
	if err != nil {
		return err
	}
	requests, err := subscriber.Requests(subscriber.WithoutErased(usage, erased.Erased))
	if err != nil {
		return err
	}
	customers, err := subscriber.Customers(usage)
	if err != nil {
		return err
	}
	return stderrors.Join(bus.Consume(requests), bus.Consume(erased.Guard(customers)))
}
