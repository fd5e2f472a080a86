// Package network is the core service "network" without the tunnel to other networks: a gRPC proxy that calls the service
// a request names. Micro's own opens a peer port on every interface, for clusters of servers that find each other; this
// platform's servers share a registry instead.
package network

import (
	microservice "github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/proxy"
	"github.com/micro/micro/v3/service/proxy/grpc"
	"github.com/micro/micro/v3/service/router"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/muxer"
	"github.com/urfave/cli/v2"
)

// Serve runs the core service.
func Serve(*cli.Context) error {
	const name = "network"
	srv := microservice.New(microservice.Name(name))
	if err := router.DefaultRouter.Init(
		router.Network("micro"), router.Id(srv.Server().Options().Id), router.Cache(),
	); err != nil {
		return err
	}
	forward := grpc.NewProxy(proxy.WithRouter(router.DefaultRouter), proxy.WithClient(srv.Client()))
	if err := srv.Server().Init(server.WithRouter(muxer.New(name, forward))); err != nil {
		return err
	}
	return srv.Run()
}
