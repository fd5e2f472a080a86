// Usage counts what customers call.
package main

import (
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/usage/handler"
	pb "github.com/m3o/backend/usage/proto"
	core "github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/migrations"
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
	usage, err := core.New(core.Config{DB: db})
	if err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: usage})
	if err != nil {
		return err
	}
	return pb.RegisterUsageHandler(srv.Server(), h)
}
