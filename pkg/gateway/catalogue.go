package gateway

import (
	"context"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"

	billing "github.com/m3o/backend/billing/proto"
)

// Prefix is what the paths of calls with a key begin with.
const Prefix = "/v1/"

// listAges are those of what billing lists: the catalogue and the tiers. Without billing, what it listed last stays in effect.
var listAges = ages{fresh: time.Second, limit: 2 * time.Second, grace: forever}

// listing is an endpoint that can be called with a key.
type listing struct {
	api, endpoint string
	// name is both with a slash between them.
	name string
	// rpc is the endpoint as the service has it.
	rpc   string
	price int64
}

// catalogue has the endpoints that can be called, by their names.
type catalogue map[string]*listing

func askCatalogue(service billing.BillingService) asker[catalogue] {
	return func(ctx context.Context) (catalogue, error) {
		rsp, err := service.ListPrices(ctx, new(billing.ListPricesRequest), client.WithAuthToken())
		if err != nil {
			return nil, err
		}
		all := make(catalogue, len(rsp.Prices))
		for _, p := range rsp.Prices {
			l := &listing{api: p.ApiName, endpoint: Canonical(p.EndpointName), price: p.Price}
			if !IsPart(l.api) || !IsPart(l.endpoint) {
				continue // no path leads there
			}
			l.name, l.rpc = l.api+"/"+l.endpoint, Canonical(l.api)+"."+l.endpoint
			all[l.name] = l
		}
		return all, nil
	}
}

// find finds the endpoint that a path names, as it stands in the request: without anything decoded, added or left out. Only
// words of the endpoint may be written in lower case and with hyphens, as everywhere else over HTTP.
func (c catalogue) find(path string) (*listing, *Refusal) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return nil, errPath
	}
	if l, ok := c[rest]; ok {
		return l, nil
	}
	api, endpoint, ok := strings.Cut(rest, "/")
	if !ok || !IsPart(api) || !IsPart(endpoint) {
		return nil, errPath
	}
	if l, ok := c[api+"/"+Canonical(endpoint)]; ok {
		return l, nil
	}
	return nil, errNoAPI
}

// MaxPart is how many bytes a part of a path may have.
const MaxPart = 64

// IsPart tells whether a part of a path can be part of a service's or a method's name: letters and digits, a letter first,
// and hyphens between them.
func IsPart(s string) bool {
	if len(s) > MaxPart || s == "" || !isLetter(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case isLetter(c), c >= '0' && c <= '9':
		case c == '-' && s[i-1] != '-' && i+1 < len(s):
		default:
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// Canonical is a part of a path as the name of a proto service or a method: VerifyKey for verify-key.
func Canonical(part string) string {
	var room [MaxPart]byte
	return string(AppendCanonical(room[:0], part))
}

// AppendCanonical adds what Canonical returns.
func AppendCanonical(b []byte, part string) []byte {
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
