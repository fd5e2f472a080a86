package edge

import (
	"strings"

	"github.com/m3o/backend/pkg/gateway"
)

// route is the RPC that a path stands for.
type route struct{ service, endpoint string }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// withKey is the first part of the paths of calls with an API key; no service can have that name over HTTP.
const withKey = "v1"

// isWithKey tells whether a path, as it stands in the request, is one of a call with an API key.
func isWithKey(path string) bool {
	return path == "/"+withKey || strings.HasPrefix(path, gateway.Prefix)
}

// routeOf translates as Micro's API does: /customers/Create is Customers.Create of the service customers,
// /customers/Keys/VerifyKey is Keys.VerifyKey of the same. Words may be written in lower case and with hyphens:
// /customers/verify-key. It is false for a path that cannot be a call.
func routeOf(path string) (route, bool) {
	service, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	handler, method, ok := strings.Cut(rest, "/")
	if !ok {
		handler, method = service, rest
	}
	if !gateway.IsPart(service) || !gateway.IsPart(handler) || !gateway.IsPart(method) || service == withKey {
		return route{}, false
	}
	var room [2*gateway.MaxPart + 1]byte
	name := gateway.AppendCanonical(append(gateway.AppendCanonical(room[:0], handler), '.'), method)
	return route{service: service, endpoint: string(name)}, true
}
