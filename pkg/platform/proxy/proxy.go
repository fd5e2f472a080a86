// Package proxy is the core service "proxy", the platform's way in for Micro's command line: it calls the service that a
// request names, with the caller's own token and the caller's address, and decides nothing. Micro has two of them, one
// for its own services with a peer port on every interface for servers that find each other; this platform's servers share
// a registry instead.
package proxy

import (
	"github.com/micro/micro/v3/service/client"
	microproxy "github.com/micro/micro/v3/service/proxy"
	"github.com/micro/micro/v3/service/proxy/grpc"
	"github.com/micro/micro/v3/service/router"
	"github.com/micro/micro/v3/util/muxer"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/service"
)

// Serve runs the core service.
func Serve(*cli.Context) error {
	const name = "proxy"
	srv := service.Core(name)
	if err := router.DefaultRouter.Init(
		router.Network("micro"), router.Id(srv.Server().Options().Id), router.Cache(),
	); err != nil {
		return err
	}
	forward := grpc.NewProxy(microproxy.WithRouter(router.DefaultRouter), microproxy.WithClient(client.DefaultClient))
	if err := srv.Forward(muxer.New(name, forward)); err != nil {
		return err
	}
	return srv.Run()
}
