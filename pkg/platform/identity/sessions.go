package identity

import (
	"context"

	access "github.com/m3o/backend/pkg/auth"
	pb "github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/errors"
)

// sessionsHandler answers the RPCs of Sessions.
type sessionsHandler struct{ *Identity }

// List returns the sessions of an account that have not ended.
func (h sessionsHandler) List(ctx context.Context, req *pb.ListRequest, rsp *pb.ListResponse) error {
	a, err := h.managed(access.CallerFrom(ctx), req.Account)
	if err != nil {
		return err
	}
	found, err := h.sessionsOf(a)
	if err != nil {
		return err
	}
	for _, s := range found {
		rsp.Sessions = append(rsp.Sessions, &pb.Session{
			Id: s.ID, Created: s.Created.Unix(), LastUsed: s.LastUsed.Unix(), Expires: s.Expires.Unix(),
		})
	}
	return nil
}

// Revoke ends one session of an account, or all.
func (h sessionsHandler) Revoke(ctx context.Context, req *pb.RevokeRequest, _ *pb.RevokeResponse) error {
	if req.All == (req.Session != "") {
		return errors.Invalid("session", "expected either this or all")
	}
	caller := access.CallerFrom(ctx)
	a, err := h.managed(caller, req.Account)
	if err != nil {
		return err
	}
	if req.All {
		return h.changeManaged(caller, a.ID, func(*account) {})
	}
	defer h.locks.lock(partOf(a.ID))()
	found, err := h.sessionsOf(a)
	if err != nil {
		return err
	}
	for _, s := range found {
		if s.ID == req.Session {
			return h.endSession(s.ID)
		}
	}
	return nil
}

// Block ends all sessions of an account and lets nobody log in with it.
func (h sessionsHandler) Block(ctx context.Context, req *pb.BlockRequest, _ *pb.BlockResponse) error {
	caller := access.CallerFrom(ctx)
	a, err := h.managed(caller, req.Account)
	if err != nil {
		return err
	}
	if err := notOwn(caller, "account", a); err != nil {
		return err
	}
	return h.changeManaged(caller, a.ID, func(a *account) { a.Blocked = true })
}

// Unblock lets an account log in again.
func (h sessionsHandler) Unblock(ctx context.Context, req *pb.UnblockRequest, _ *pb.UnblockResponse) error {
	caller := access.CallerFrom(ctx)
	a, err := h.managed(caller, req.Account)
	if err != nil {
		return err
	}
	if !a.Blocked {
		return nil // its sessions go on
	}
	return h.changeManaged(caller, a.ID, func(a *account) { a.Blocked = false })
}

// changeManaged changes an account that the caller still may manage.
func (h sessionsHandler) changeManaged(c access.Caller, id string, f func(*account)) error {
	return h.change(id, func(now *account) error {
		if err := mayManage(c, &now.Account); err != nil {
			return err
		}
		f(now)
		return nil
	})
}

// managed returns an account that the caller may manage.
func (h sessionsHandler) managed(c access.Caller, id string) (*account, error) {
	if err := mayName(c); err != nil {
		return nil, err
	}
	if err := validLogin("account", id); err != nil {
		return nil, err
	}
	a, err := h.account(id)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, errors.NotFound("account", "there is no such account")
	}
	return a, mayManage(c, &a.Account)
}
