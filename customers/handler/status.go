package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// MarkVerified says that a customer's address is proven.
func (h *Customers) MarkVerified(ctx context.Context, req *pb.MarkVerifiedRequest, rsp *pb.MarkVerifiedResponse) error {
	c, err := h.core.MarkVerified(ctx, service.Ref{ID: req.Id, Email: req.Email})
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// Activate says that a customer has chosen a password.
func (h *Customers) Activate(ctx context.Context, req *pb.ActivateRequest, rsp *pb.ActivateResponse) error {
	c, err := h.core.Activate(ctx, req.Id)
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// Undelete gives a deleted customer back what they were.
func (h *Customers) Undelete(ctx context.Context, req *pb.UndeleteRequest, rsp *pb.UndeleteResponse) error {
	c, err := h.core.Undelete(ctx, req.Id)
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// Ban takes sessions, log-ins and keys away from a customer.
func (h *Customers) Ban(ctx context.Context, req *pb.BanRequest, rsp *pb.BanResponse) error {
	c, err := h.core.Ban(ctx, service.Ref{ID: req.Id, Email: req.Email}, req.Reason)
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// Unban gives a banned customer back what they were.
func (h *Customers) Unban(ctx context.Context, req *pb.UnbanRequest, rsp *pb.UnbanResponse) error {
	c, err := h.core.Unban(ctx, service.Ref{ID: req.Id, Email: req.Email})
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}
