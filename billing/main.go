// Billing knows what customers pay.
package main

import (
	"github.com/m3o/backend/billing/handler"
	pb "github.com/m3o/backend/billing/proto"
	core "github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("billing")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	settings := core.DefaultSettings()
	if err := service.Config("micro.billing", &settings); err != nil {
		return err
	}
	billing, err := core.New(core.Config{Settings: settings})
	if err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: billing})
	if err != nil {
		return err
	}
	return pb.RegisterBillingHandler(srv.Server(), h)
}
