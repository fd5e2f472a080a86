package direct

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/micro/micro/v3/service/auth"
	microauth "github.com/micro/micro/v3/util/auth"
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/m3o/backend/pkg/service/telemetry"
)

const (
	namespaceKey     = "micro-namespace"
	authorizationKey = "authorization"
)

// usualHeader is how many pairs of a key and a value a call mostly sends along, at most.
const usualHeader = 12

// header adds to pairs what an outgoing call sends along: what is known of the call that it is made for travels on, as Micro
// has it, and with the own token the call is the service's own.
func (c *Client) header(ctx context.Context, service string, ownToken bool, pairs []string) []string {
	md, traceparent := telemetry.Outgoing(ctx)
	begin, known := len(pairs), false
	var namespace, token string
	if ownToken {
		namespace, token = c.config.Credentials()
	}
	if traceparent != "" {
		pairs = append(pairs, telemetry.Header, traceparent)
	}
	if t := tokenFor(ctx, service); t != nil {
		pairs = append(pairs, authorizationKey, t.Authorization)
	} else if token != "" {
		pairs = append(pairs, authorizationKey, c.bearer.of(token))
	}
	own := len(pairs)
	for name, value := range md {
		key := strings.ToLower(name)
		if ofOneHop(key) {
			continue
		}
		known = known || key == namespaceKey
		switch i := indexOf(key, pairs, begin); {
		case i < 0:
			pairs = append(pairs, key, value)
		case i >= own && name != key: // Micro's own functions would have written what came with a call like this, too
			pairs[i+1] = value
		}
	}
	if !known && !ownToken {
		namespace, _ = c.config.Credentials()
	}
	if !known && namespace != "" {
		pairs = append(pairs, namespaceKey, namespace)
	}
	return pairs
}

// bearer is the Authorization header of the own token, which is a long text that lasts for some thousand calls.
type bearer struct{ last atomic.Pointer[string] }

func (b *bearer) of(token string) string {
	if last := b.last.Load(); last != nil && (*last)[len(microauth.BearerScheme):] == token {
		return *last
	}
	text := microauth.BearerScheme + token
	b.last.Store(&text)
	return text
}

// indexOf finds a key in pairs; -1 if it is not there.
func indexOf(key string, pairs []string, from int) int {
	for i := from; i < len(pairs); i += 2 {
		if pairs[i] == key {
			return i
		}
	}
	return -1
}

// SoldKey is where a node says in the registry, with the value "true", that its service is sold. The registry itself writes
// it, by who has registered the node.
const SoldKey = "sold"

// TokenFor is a token that is good in one service and nowhere else, so that one that is sold may see it. Calls of that service
// are made with it, whatever else their header has. It is for the gateway.
type TokenFor struct {
	// Service is the name of the service.
	Service string
	// Authorization is the header: Bearer and the token.
	Authorization string
}

type tokenForKey struct{}

// WithTokenFor returns a context for calls with a token that is good in one service only.
func WithTokenFor(ctx context.Context, t *TokenFor) context.Context {
	return context.WithValue(ctx, tokenForKey{}, t)
}

// tokenFor is the token that calls of a service are to be made with; nil where there is none for that service.
func tokenFor(ctx context.Context, service string) *TokenFor {
	if t, ok := ctx.Value(tokenForKey{}).(*TokenFor); ok && t.Service == service {
		return t
	}
	return nil
}

// visible is the context that the service may see. One that is sold does not get the token that a call is made with: it could
// be that caller everywhere else.
func (t *target) visible(ctx context.Context) context.Context {
	if t.entry == nil || !t.entry.sold.Load() || tokenFor(ctx, t.service) != nil {
		return ctx
	}
	md, _ := grpcmetadata.FromOutgoingContext(ctx) // a copy
	md.Delete(authorizationKey)
	return grpcmetadata.NewOutgoingContext(ctx, md)
}

// ofOneHop tells whether a header is about the connection it came by: Micro's server puts all of them into a handler's
// context. The deadline is gRPC's own, which counts what has passed since; the copy that Micro makes of it does not.
func ofOneHop(key string) bool {
	switch key {
	case "content-type", "x-content-type", "user-agent", "te", "connection", "host", "content-length", "remote", "timeout", "":
		return true
	}
	return key[0] == ':' || strings.HasPrefix(key, "grpc-")
}

// microCredentials are those of Micro's auth.
func microCredentials() (namespace, token string) {
	options := auth.DefaultAuth.Options()
	if options.Token != nil && !options.Token.Expired() {
		token = options.Token.AccessToken
	}
	return options.Issuer, token
}
