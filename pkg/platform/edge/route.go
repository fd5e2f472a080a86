package edge

import (
	"regexp"
	"strings"
)

// route is the RPC that a path stands for.
type route struct{ service, endpoint string }

// A part of a path becomes part of a service's or a method's name.
var validPart = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$`)

// routeOf translates as Micro's API does: /customers/Create is Customers.Create of the service customers,
// /customers/Keys/VerifyKey is Keys.VerifyKey of the same. Words may be written in lower case and with hyphens:
// /customers/verify-key. It is false for a path that cannot be a call.
func routeOf(path string) (route, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 2 || len(parts) > 3 {
		return route{}, false
	}
	for _, p := range parts {
		if len(p) > 64 || !validPart.MatchString(p) {
			return route{}, false
		}
	}
	return route{service: parts[0], endpoint: camel(parts[len(parts)-2]) + "." + camel(parts[len(parts)-1])}, true
}

// camel turns verify-key into VerifyKey.
func camel(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
