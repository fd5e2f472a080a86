package service

import (
	"context"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/auth/namespace"
)

// trusted is whom the handlers of Micro's core services see as the caller. Each of them asks on its own for an admin or for
// any service at all; here the policy has decided that before, and more finely.
var trusted = &auth.Account{ID: "platform", Issuer: namespace.DefaultNamespace, Type: "user", Scopes: []string{"admin"}}

func trust(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, request server.Request, response any) error {
		return next(auth.ContextWithAccount(ctx, trusted), request, response)
	}
}
