package service

import (
	"context"
	"errors"

	"github.com/micro/micro/v3/service/auth"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/wrapper"
)

// onlyWhatCounts replaces the wrappers that Micro puts around every handler. Its AuthHandler finds out once more who calls,
// its tracer makes two random ids and its metrics a map for each call, which nobody reads: together they cost as much as
// the rest of the call. The rules of the platform are kept, and the statistics of the Debug handler.
func onlyWhatCounts(o *server.Options) {
	inNamespace := auth.VerifyNamespace(auth.DefaultAuth.Options().Issuer)
	o.HdlrWrappers = []server.HandlerWrapper{
		func(next server.HandlerFunc) server.HandlerFunc {
			return func(ctx context.Context, req server.Request, rsp any) error {
				if err := obeyRules(ctx, req, inNamespace); err != nil {
					return err
				}
				return next(ctx, req, rsp)
			}
		},
		wrapper.HandlerStats(),
	}
}

// resourceType is what Micro's rules call a service.
const resourceType = "service"

// resourceOf is what the rules that concern a call are about.
func resourceOf(req server.Request) *auth.Resource {
	if c, ok := req.(*unaryCall); ok {
		return c.resource
	}
	return &auth.Resource{Type: resourceType, Name: req.Service(), Endpoint: req.Endpoint()}
}

// obeyRules refuses what a rule of the platform (micro auth create rule) forbids, whatever the proto says.
func obeyRules(ctx context.Context, req server.Request, opts ...auth.VerifyOption) error {
	account := accountIn(ctx)
	err := auth.Verify(account, resourceOf(req), opts...)
	if err == nil {
		return nil
	}
	endpoint := req.Service() + "." + req.Endpoint()
	switch {
	case !errors.Is(err, auth.ErrForbidden):
		return translate(ctx, endpoint, err)
	case account == nil:
		return microerrors.Unauthorized(endpoint, "a rule of the platform wants to know who calls")
	default:
		return microerrors.Forbidden(endpoint, "a rule of the platform forbids this")
	}
}
