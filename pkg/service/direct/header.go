package direct

import (
	"context"
	"strings"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	microauth "github.com/micro/micro/v3/util/auth"
	grpcmetadata "google.golang.org/grpc/metadata"
)

const (
	namespaceKey     = "micro-namespace"
	authorizationKey = "authorization"
)

// withHeader returns the context of an outgoing call: what is known of the call that it is made for travels on, as Micro
// has it, and with the own token the call is the service's own.
func (c *Client) withHeader(ctx context.Context, ownToken bool) context.Context {
	md, _ := metadata.FromContext(ctx)
	namespace, token := "", ""
	_, known := md["Micro-Namespace"]
	if !known || ownToken {
		namespace, token = c.config.Credentials()
	}
	ownToken = ownToken && token != ""

	pairs := make([]string, 0, 2*len(md)+4)
	for key, value := range md {
		key = strings.ToLower(key)
		if ofOneHop(key) || ownToken && key == authorizationKey {
			continue
		}
		pairs = append(pairs, key, value)
	}
	if !known && namespace != "" {
		pairs = append(pairs, namespaceKey, namespace)
	}
	if ownToken {
		pairs = append(pairs, authorizationKey, microauth.BearerScheme+token)
	}
	return grpcmetadata.AppendToOutgoingContext(ctx, pairs...)
}

// SoldKey is where a node says in the registry, with the value "true", that its service is sold. The registry itself writes
// it, by who has registered the node.
const SoldKey = "sold"

// visible is the context that the service may see. One that is sold does not get the token that a call is made with: it could
// be that caller everywhere else.
func (t *target) visible(ctx context.Context) context.Context {
	if t.entry == nil || !t.entry.sold.Load() {
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
