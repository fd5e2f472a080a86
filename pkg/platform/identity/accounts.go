package identity

import (
	"context"

	pb "github.com/micro/micro/v3/proto/auth"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

// accountsHandler answers the RPCs of Accounts.
type accountsHandler struct{ *Identity }

var errOldSecret = errors.Invalid("old_secret", "is not the account's secret")

// List returns all accounts that are stored, without their secrets. Derived ones are not among them.
func (h accountsHandler) List(ctx context.Context, req *pb.ListAccountsRequest, rsp *pb.ListAccountsResponse) error {
	if access.CallerFrom(ctx).Kind != access.Admin {
		return errors.Forbidden("only an admin may do this")
	}
	if err := validNamespace(req.Options); err != nil {
		return err
	}
	found, err := h.accounts()
	if err != nil {
		return err
	}
	for _, a := range found {
		rsp.Accounts = append(rsp.Accounts, toProto(&a.Account))
	}
	return nil
}

// Delete deletes the account of an id or a name, and ends its sessions.
func (h accountsHandler) Delete(ctx context.Context, req *pb.DeleteAccountRequest, _ *pb.DeleteAccountResponse) error {
	caller := access.CallerFrom(ctx)
	if err := mayName(caller); err != nil {
		return err
	}
	a, err := h.named(req.Id, req.Options)
	if err != nil {
		return err
	}
	if err := notOwn(caller, "id", a); err != nil {
		return err
	}
	return h.remove(caller, a)
}

// ChangeSecret gives the account of an id or a name another secret, and ends its sessions. The owner has to give the
// former secret; from others it is checked when it is given.
func (h accountsHandler) ChangeSecret(ctx context.Context, req *pb.ChangeSecretRequest, _ *pb.ChangeSecretResponse) error {
	caller := access.CallerFrom(ctx)
	a, err := h.changeable(caller, req)
	if err != nil {
		return err
	}
	if err := validSecret("new_secret", req.NewSecret); err != nil {
		return err
	}
	checked := mayName(caller) != nil || req.OldSecret != ""
	if checked {
		a, err = h.authenticate(ctx, a.ID, req.OldSecret)
		if errors.KindOf(err) == errors.KindUnauthenticated {
			return errOldSecret
		}
		if err != nil {
			return err
		}
	}
	leave, err := h.secrets.enter(ctx)
	if err != nil {
		return err
	}
	hash, err := h.secrets.hash(req.NewSecret)
	leave()
	if err != nil {
		return err
	}
	return h.change(a.ID, func(now *account) error {
		if checked && now.Secret != a.Secret {
			return errOldSecret // it was changed meanwhile
		}
		if mayName(caller) == nil {
			if err := mayManage(caller, &now.Account); err != nil {
				return err
			}
		}
		now.Secret = hash
		return nil
	})
}

// changeable returns the account whose secret is to be changed, if the caller may do that at all.
func (h accountsHandler) changeable(c access.Caller, req *pb.ChangeSecretRequest) (*account, error) {
	if mayName(c) == nil {
		a, err := h.named(req.Id, req.Options)
		if err != nil {
			return nil, err
		}
		return a, mayManage(c, &a.Account)
	}
	forbidden := errors.Forbidden("only the account's owner, or an admin, may do this")
	if c.ID == "" || c.Kind == access.Service {
		return nil, forbidden
	}
	a, err := h.named(req.Id, req.Options)
	switch {
	case errors.KindOf(err) == errors.KindNotFound:
		return nil, forbidden // as if it were somebody's
	case err != nil:
		return nil, err
	case a.ID != c.ID:
		return nil, forbidden
	}
	return a, nil
}

// named returns the account of an id or a name.
func (h accountsHandler) named(login string, o *pb.Options) (*account, error) {
	if err := validNamespace(o); err != nil {
		return nil, err
	}
	if err := validLogin("id", login); err != nil {
		return nil, err
	}
	a, err := h.find(login)
	if err == nil && a == nil {
		err = errors.NotFound("id", "there is no such account")
	}
	return a, err
}
