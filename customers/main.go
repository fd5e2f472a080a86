// Customers is the system of record for who the customers of the platform are.
package main

import (
	"github.com/m3o/backend/customers/handler"
	pb "github.com/m3o/backend/customers/proto"
	core "github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("customers")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	db, err := database.Open("customers", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	bus, err := events.Open(srv, db)
	if err != nil {
		return err
	}
	customers, err := core.New(core.Config{DB: db, Outbox: bus})
	if err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: customers})
	if err != nil {
		return err
	}
	return pb.RegisterCustomersHandler(srv.Server(), h)
}
