package auth

import (
	"context"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/pkg/auth/token"
)

// Kind is what a caller is.
type Kind int

const (
	// Anonymous is a caller without a token.
	Anonymous Kind = iota
	// Customer is a customer of the platform; the account's id is the customer's.
	Customer
	// Admin is an operator.
	Admin
	// Service is a service that the runtime runs, or a part of the platform.
	Service
	// Sold is a service whose calls are sold to customers. Whoever wrote it is not trusted: it is let through where no
	// service can do without, and nowhere else.
	Sold
	// Other has an account that is none of these, which gives it no more than no account does.
	Other
	// Gateway is the gateway where it calls a service for a customer who has an API key. It is so in that one service and
	// nobody in any other: the service gets to see the token, and whoever wrote it may not be trusted.
	Gateway
)

// String says what the kind is called, as in a log.
func (k Kind) String() string {
	names := []string{"anonymous", "customer", "admin", "service", "sold service", "other", "gateway"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// issuer is the namespace of the platform's own accounts, and of everything else that has one.
const issuer = namespace.DefaultNamespace

// Types and scopes of Micro's accounts.
const (
	typeCustomer = "customer"
	typeUser     = "user"
	typeService  = "service"
	scopeAdmin   = "admin"
	scopeService = "service"
)

const (
	// part is what the names of the platform's own parts begin with, as in "platform/registry". No service has such a
	// name: a service's name has no slash.
	part = "platform/"
	// Platform is the name of `micro server`.
	Platform = part + "server"
	// gateway is the part that the gateway runs in, and gatewayName what policies call it. A service that somebody runs under
	// that name is not it.
	gateway     = part + "api"
	gatewayName = "gateway"
)

// Caller is who makes a call.
type Caller struct {
	Kind Kind
	// ID is the account's; a customer's is the customer's id. Empty when anonymous.
	ID string
	// Service is the name that a service runs under, without its version; empty for anybody else. A part of the platform
	// has "platform/" before its name. A Gateway has the name of the service that it is for.
	Service string
}

// CallerOf tells who an account is; nil is nobody. The account has to come from a token that was checked: everything is
// taken from it as it was signed, and nothing from what it is called, which whoever logs in may choose.
func CallerOf(account *auth.Account) Caller {
	if account == nil {
		return Caller{}
	}
	c := Caller{Kind: Other, ID: account.ID}
	// The accounts of other namespaces are made by their own admins.
	if account.ID == "" || account.Issuer != issuer {
		return c
	}
	name := account.Metadata[token.ServiceKey]
	switch {
	case account.Type == typeCustomer:
		c.Kind = Customer
	case account.Type == typeUser && slices.Contains(account.Scopes, scopeAdmin):
		c.Kind = Admin
	case account.Type == typeService && slices.Contains(account.Scopes, scopeService) && name != "":
		c.Kind, c.Service = Service, name
	case account.Type == typeService && account.Metadata[token.SoldKey] == "true" && name != "":
		c.Kind, c.Service = Sold, name
	case account.Type == typeService && name == "" && account.Metadata[token.GatewayKey] != "":
		c.Kind, c.Service = Gateway, account.Metadata[token.GatewayKey]
	}
	return c
}

// registered is the name that a service has in the registry, and its tables and its configuration with it.
func (c Caller) registered() string { return strings.TrimPrefix(c.Service, part) }

// In is who the caller is in the service of a name: the gateway of another service is nobody there.
func (c Caller) In(service string) Caller {
	if c.Kind == Gateway && c.Service != service {
		return Caller{Kind: Other, ID: c.ID}
	}
	return c
}

// Where a call of the gateway says for which customer it is, and with which key of theirs. From anybody else these mean
// nothing, and handlers do not get to see them. They are written as they travel.
const (
	CustomerKey = "customer-id"
	APIKeyKey   = "api-key-id"
)

// Part is the name of a part of the platform, as of its registry.
func Part(name string) string { return part + name }

// CallerKey is the key of the caller in a context, a *Caller. It is for who has checked the caller's token; everybody else
// asks CallerFrom.
type CallerKey struct{}

// WithCaller returns a context in which the caller is known. It is for who has checked the caller's token.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, CallerKey{}, &c)
}

// CallerFrom tells a handler who makes the call. Nobody in particular does where it is not known.
func CallerFrom(ctx context.Context) Caller {
	if c, ok := ctx.Value(CallerKey{}).(*Caller); ok {
		return *c
	}
	return Caller{}
}
