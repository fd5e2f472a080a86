package service

import (
	"context"
	"errors"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
)

// ruled is an auth whose rules decide as they are told.
type ruled struct {
	auth.Auth
	err error
}

func (r ruled) Options() auth.Options { return auth.Options{} }

func (r ruled) Verify(*auth.Account, *auth.Resource, ...auth.VerifyOption) error { return r.err }

type request struct{ server.Request }

func (request) Service() string  { return "customers" }
func (request) Endpoint() string { return "Customers.Read" }

// Not in parallel: Micro's auth is a global.
func TestRulesOfThePlatform(t *testing.T) { //nolint:paralleltest // see above
	before := auth.DefaultAuth
	t.Cleanup(func() { auth.DefaultAuth = before })
	known := auth.ContextWithAccount(t.Context(), &auth.Account{ID: "jane"})
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		code int32 // 0 is that the handler is called
	}{
		"granted":                {ctx: known},
		"granted to everybody":   {ctx: t.Context()},
		"forbidden":              {ctx: known, err: auth.ErrForbidden, code: 403},
		"forbidden to strangers": {ctx: t.Context(), err: auth.ErrForbidden, code: 401},
		"the rules are unknown":  {ctx: known, err: errors.New("10.0.0.1 is away"), code: 500},
	} {
		auth.DefaultAuth = ruled{err: tc.err}
		var o server.Options
		onlyWhatCounts(&o)
		called := false
		h := server.HandlerFunc(func(context.Context, server.Request, any) error { called = true; return nil })
		for i := len(o.HdlrWrappers) - 1; i >= 0; i-- {
			h = o.HdlrWrappers[i](h)
		}
		err := h(tc.ctx, request{}, nil)
		assert.Equal(t, tc.code == 0, called, name)
		if tc.code == 0 {
			assert.NoError(t, err, name)
			continue
		}
		e := microerrors.FromError(err)
		assert.Equal(t, tc.code, e.Code, name)
		assert.Equal(t, "customers.Customers.Read", e.Id, name)
		assert.NotContains(t, e.Detail, "10.0.0.1", name)
	}
}
