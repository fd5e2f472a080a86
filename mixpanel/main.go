// Command mixpanel is the service of that name; its README says what for.
package main

import (
	"context"

	"github.com/m3o/backend/mixpanel/handler"
	pb "github.com/m3o/backend/mixpanel/proto"
	core "github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/mixpanel/service/migrations"
	"github.com/m3o/backend/mixpanel/subscriber"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/erasure"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("mixpanel")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	db, err := database.Open("mixpanel", migrations.FS)
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
	if err := service.Config("micro.mixpanel", &settings); err != nil {
		return err
	}
	c, err := core.New(core.Config{
		Settings: settings, StandIn: service.StandIn("mixpanel"), DB: db, Letters: bus, Metrics: srv.Recorder().Registry(),
	})
	if err != nil {
		return err
	}
	srv.Check("mixpanel", c.Check)
	if err := consume(db, bus, c); err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: c})
	if err != nil {
		return err
	}
	return pb.RegisterMixpanelHandler(srv.Server(), h)
}

// consume adds what forwards each topic. The service has nothing of customers but the letters of its consumers, which a guard
// forgets: there is one also where topic customers is not forwarded.
func consume(db *database.DB, bus *events.Bus, c *core.Mixpanel) error {
	erased, err := erasure.Open(db, bus, func(context.Context, database.Querier, erasure.Customer) (bool, error) { return true, nil })
	if err != nil {
		return err
	}
	guarded := false
	for _, topic := range c.Topics() {
		consumer, err := subscriber.Topic(topic, c)
		if err != nil {
			return err
		}
		if topic == customersevents.Topic {
			consumer, guarded = erased.Guard(consumer), true
		}
		if err := bus.Consume(consumer); err != nil {
			return err
		}
	}
	if guarded {
		return nil
	}
	return bus.Consume(erased.Guard(events.Consumer{}))
}
