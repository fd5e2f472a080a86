package identity

import (
	"slices"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// managers are the services that manage customers' accounts.
var managers = []string{"customers", "signup"}

func isManager(c access.Caller) bool {
	return c.Kind == access.Service && slices.Contains(managers, c.Service)
}

// mayManage returns an error unless the caller may make, change, block and delete the account: an admin any, and the
// services that manage customers those of customers.
func mayManage(c access.Caller, a *auth.Account) error {
	switch {
	case c.Kind == access.Admin:
		return nil
	case !isManager(c):
		return errors.Forbidden("only an admin may do this")
	case a.Type != typeCustomer || len(a.Scopes) > 0 || a.Issuer != namespace.DefaultNamespace:
		return errors.Forbidden("a service may do this with customers' accounts only, which have no scopes")
	}
	return nil
}

// mayName returns an error unless the caller may name accounts of others at all. It is asked before anything is looked
// up, so that whoever may not learns nothing of which accounts there are.
func mayName(c access.Caller) error {
	if c.Kind != access.Admin && !isManager(c) {
		return errors.Forbidden("only an admin may do this")
	}
	return nil
}

// notOwn keeps admins from locking themselves out.
func notOwn(c access.Caller, field string, a *account) error {
	if c.Kind == access.Admin && c.ID == a.ID {
		return errors.Invalid(field, "is your own account: another admin can do this")
	}
	return nil
}
