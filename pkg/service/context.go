package service

import (
	"context"
	"strings"
	"sync"

	microauth "github.com/micro/micro/v3/service/auth"
	micrometadata "github.com/micro/micro/v3/service/context/metadata"
	"google.golang.org/grpc/peer"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/internal/lookup"
)

// callContext is the context of a call in which is known what came with it and who makes it, where our handlers and Micro's
// look for that. It is one context instead of a chain of four, and makes what most handlers never ask for when one does.
type callContext struct {
	context.Context
	identity

	header      micrometadata.Metadata
	headerOnce  sync.Once
	copied      *microauth.Account
	accountOnce sync.Once
}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	switch key {
	case any(auth.CallerKey{}):
		return &c.caller
	case lookup.AccountKey:
		if c.account != nil {
			return c.ownAccount()
		}
	case lookup.MetadataKey:
		return c.metadata()
	}
	return c.Context.Value(key)
}

// ownAccount is the caller's account for a handler, which may change it.
func (c *callContext) ownAccount() *microauth.Account {
	c.accountOnce.Do(func() { c.copied = auth.Clone(c.account) })
	return c.copied
}

// metadata is what came with the call as Micro's handlers have it.
func (c *callContext) metadata() micrometadata.Metadata {
	c.headerOnce.Do(func() {
		came := lookup.Incoming(c.Context)
		c.header = make(micrometadata.Metadata, len(came)+1)
		for key, values := range came {
			switch {
			case key == "timeout":
			case !c.byGateway && (key == auth.CustomerKey || key == auth.APIKeyKey): // anybody may have written it
			default:
				c.header[key] = strings.Join(values, ", ")
			}
		}
		if p, ok := peer.FromContext(c.Context); ok {
			c.header["Remote"] = p.Addr.String()
		}
	})
	return c.header
}

// accountIn is the account of whoever makes a call, to be looked at and not to be changed.
func accountIn(ctx context.Context) *microauth.Account {
	if c, ok := ctx.(*callContext); ok {
		return c.account
	}
	account, _ := microauth.AccountFromContext(ctx)
	return account
}
