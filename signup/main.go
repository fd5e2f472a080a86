// Signup is how somebody becomes a customer.
package main

import (
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/signup/handler"
	pb "github.com/m3o/backend/signup/proto"
	core "github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/migrations"
)

func main() {
	srv := service.New("signup")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	db, err := database.Open("signup", migrations.FS)
	if err != nil {
		return err
	}
	srv.OnStop(db.Close)
	srv.Check("database", db.Ping)
	signup, err := core.New(core.Config{DB: db})
	if err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: signup})
	if err != nil {
		return err
	}
	return pb.RegisterSignupHandler(srv.Server(), h)
}
