// Package proxy is the core service "proxy", the platform's way in for Micro's command line: it calls the service that a
// request names, with the caller's own token and the caller's address, and decides nothing. Micro has two of them, one
// for its own services with a peer port on every interface for servers that find each other; this platform's services
// call each other directly, and its servers share a registry.
package proxy

import (
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/service"
)

// Serve runs the core service.
func Serve(*cli.Context) error {
	srv := service.Core("proxy")
	profile.Observe(srv)
	srv.Forward()
	return srv.Run()
}
