package edge

import (
	"github.com/micro/micro/v3/service/registry"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/direct"
)

// endpoint is what the registry says of one endpoint.
type endpoint struct {
	outside bool            // it is reachable from outside
	withKey bool            // it may be called for a customer who has an API key
	safe    bool            // calling it changes nothing
	raw     bool            // it takes HTTP as it is
	truths  map[string]bool // the parameters that are true or false: a query does not tell them from text
}

// endpointsOf reads what the registry says of each endpoint. Whatever says nothing, as Micro's own services do, is neither
// reachable nor safe; nor is what one of several versions of a service says otherwise.
func endpointsOf(services []*registry.Service) map[string]endpoint {
	endpoints := make(map[string]endpoint)
	for _, s := range services {
		for _, e := range s.Endpoints {
			found := endpoint{
				outside: auth.OutsideByName(e.Metadata[auth.EndpointKey]),
				withKey: auth.WithKeyByName(e.Metadata[auth.EndpointKey]),
				safe:    e.Metadata[direct.LevelKey] == direct.Safe,
				raw:     e.Metadata[direct.RawKey] != "",
				truths:  make(map[string]bool),
			}
			if before, ok := endpoints[e.Name]; ok {
				found.outside = found.outside && before.outside
				found.withKey = found.withKey && before.withKey
				found.safe = found.safe && before.safe
				// Versions that do not agree on this are for nobody: half of the calls would fail anyhow.
				found.outside = found.outside && found.raw == before.raw
				found.withKey = found.withKey && found.raw == before.raw
				found.truths = before.truths
			}
			if e.Request != nil {
				for _, v := range e.Request.Values {
					if v.Type == "bool" {
						found.truths[v.Name] = true
					}
				}
			}
			endpoints[e.Name] = found
		}
	}
	return endpoints
}
