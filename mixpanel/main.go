// Command mixpanel is the service mixpanel; see its README.
package main

import (
	"github.com/m3o/backend/mixpanel/handler"
	pb "github.com/m3o/backend/mixpanel/proto"
	mixpanel "github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/service"
)

func main() {
	srv := service.New("mixpanel")
	core, err := mixpanel.New(mixpanel.Config{})
	srv.Must(err)
	h, err := handler.New(core)
	srv.Must(err)
	srv.Must(pb.RegisterMixpanelHandler(srv.Server(), h))
	srv.Must(srv.Run())
}
