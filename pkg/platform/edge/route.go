package edge

import "strings"

// route is the RPC that a path stands for.
type route struct{ service, endpoint string }

// isPart tells whether a part of a path can be part of a service's or a method's name: letters and digits, a letter first,
// and hyphens between them.
func isPart(s string) bool {
	if len(s) > maxPart || s == "" || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case isLetter(c), isDigit(c):
		case c == '-' && s[i-1] != '-' && i+1 < len(s):
		default:
			return false
		}
	}
	return true
}

// maxPart is how many bytes a part of a path may have.
const maxPart = 64

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// routeOf translates as Micro's API does: /customers/Create is Customers.Create of the service customers,
// /customers/Keys/VerifyKey is Keys.VerifyKey of the same. Words may be written in lower case and with hyphens:
// /customers/verify-key. It is false for a path that cannot be a call.
func routeOf(path string) (route, bool) {
	service, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	handler, method, ok := strings.Cut(rest, "/")
	if !ok {
		handler, method = service, rest
	}
	if !isPart(service) || !isPart(handler) || !isPart(method) {
		return route{}, false
	}
	var room [2*maxPart + 1]byte
	name := appendCamel(append(appendCamel(room[:0], handler), '.'), method)
	return route{service: service, endpoint: string(name)}, true
}

// appendCamel adds a part of a path as it stands in a name: VerifyKey for verify-key.
func appendCamel(b []byte, part string) []byte {
	begins := true
	for i := range len(part) {
		c := part[i]
		switch {
		case c == '-':
			begins = true
			continue
		case begins && c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		b, begins = append(b, c), false
	}
	return b
}
