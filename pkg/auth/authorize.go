package auth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/micro/micro/v3/service/auth"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/errors"
)

// Inspect finds the account of a token, as auth.Inspect of Micro does.
type Inspect func(token string) (*auth.Account, error)

// bearer is how an Authorization header begins that has a token. No other scheme is taken.
const bearer = "Bearer "

// Authenticate tells who calls with the values of a call's Authorization header. Without any it is anonymous. Whoever
// sends a token that is not good, even to what is public, is told so (401) rather than taken for nobody: a client whose
// token has expired would find out much later, and somewhere else.
func Authenticate(inspect Inspect, authorization []string) (Caller, error) {
	if len(authorization) == 0 {
		return Caller{}, nil
	}
	token, ok := strings.CutPrefix(authorization[0], bearer)
	if !ok || len(authorization) > 1 {
		return Caller{}, errors.Unauthenticated(badHeader)
	}
	account, err := inspect(token)
	if err != nil || account == nil {
		return Caller{}, errors.Unauthenticated(badToken).WithCause(err)
	}
	return CallerOf(account), nil
}

// Authorize returns an error unless the caller may call the method at all: 401 for somebody anonymous, 403 for anybody
// else. Whether a customer may call it with this request only Own can tell.
func (p Policy) Authorize(c Caller) error {
	switch p.Access {
	case ForPublic:
		return nil
	case ForCustomer:
		if c.Kind == Customer || p.trusts(c) {
			return nil
		}
	case ForAdmin:
		if p.trusts(c) {
			return nil
		}
	case ForGateway:
		if c.Kind == Gateway { // of the service that is called: see Caller.In
			return nil
		}
	case ForService:
		if c.Kind == Service || c.Kind == Admin || c.Kind == Sold && p.Sold {
			return nil
		}
	case ForAccount:
		if c.Kind != Anonymous {
			return nil
		}
	}
	if c.Kind == Anonymous {
		return errors.Unauthenticated(noToken)
	}
	return errors.Forbidden(onlyOthers, p.who())
}

// What callers are told who are not let through.
const (
	badHeader  = "Authorization: expected Bearer and one token"
	badToken   = "Authorization: the token is not good, or not any more: log in again"
	noToken    = "it has to be known who calls: send Authorization: Bearer and a token" //nolint:gosec // no token
	onlyOthers = "only %s may call this"
)

// IsAboutCaller tells whether the detail of an error says that its caller was not let through, rather than something that the
// RPC has found out: a caller that asks about somebody else's credentials must not mix that up.
func IsAboutCaller(detail string) bool {
	switch detail {
	case badHeader, badToken, noToken:
		return true
	}
	for a := ForNobody; a <= ForAccount; a++ {
		if detail == fmt.Sprintf(onlyOthers, Policy{Access: a}.who()) {
			return true
		}
	}
	return false
}

// trusts tells whether the caller may call about every customer.
func (p Policy) trusts(c Caller) bool {
	return c.Kind == Admin || c.Kind == Service && p.names(c.Service)
}

// names tells whether the policy names a service.
func (p Policy) names(service string) bool {
	switch service {
	case gateway:
		service = gatewayName
	case gatewayName:
		return false
	}
	return slices.Contains(p.Services, service)
}

// who says in words for whom a method is, without the services, which are nobody's business.
func (p Policy) who() string {
	switch p.Access {
	case ForCustomer:
		return "a customer or an admin"
	case ForAdmin:
		return "an admin"
	case ForGateway:
		return "the gateway"
	case ForService:
		return "a service of the platform"
	default:
		return "nobody"
	}
}

// Own makes sure that a customer's request is about that customer: an id that is empty is filled with the customer's own,
// another one is refused (403), and so is a field that only an admin may give. In the same way it keeps a service to its own
// name, tables and configuration where it calls the platform. Requests of others stay as they are. The caller must have
// been let through by Authorize.
func (p Policy) Own(c Caller, request proto.Message) error {
	if err := p.hold(c, request); err != nil {
		return err
	}
	if p.Access != ForCustomer || p.trusts(c) {
		return nil
	}
	m := request.ProtoReflect()
	for _, f := range p.adminFields {
		if f.has(m) {
			return forbidden(f, "only an admin may give it")
		}
	}
	switch id := p.id.text(m); {
	case c.Kind != Customer || c.ID == "":
		return forbidden(p.id, "only "+p.who()+" may give it")
	case id == "":
		p.id.fill(m, c.ID)
	case id != c.ID:
		return forbidden(p.id, "must be your own, or empty")
	}
	return nil
}

func forbidden(field path, detail string) error {
	return &errors.Error{Kind: errors.KindForbidden, Field: field.String(), Detail: detail}
}
