// Command mixpanel is the service of that name; its README says what for.
package main

import (
	"github.com/m3o/backend/mixpanel/handler"
	pb "github.com/m3o/backend/mixpanel/proto"
	core "github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("mixpanel")
	srv.Must(wire(srv))
	srv.Must(srv.Run())
}

// wire puts the parts together.
func wire(srv *service.Service) error {
	c, err := core.New(core.Config{})
	if err != nil {
		return err
	}
	h, err := handler.New(handler.Config{Core: c})
	if err != nil {
		return err
	}
	return pb.RegisterMixpanelHandler(srv.Server(), h)
}
