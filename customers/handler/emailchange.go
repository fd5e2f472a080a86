package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
)

// RequestEmailChange asks for another address.
func (h *Customers) RequestEmailChange(ctx context.Context, req *pb.RequestEmailChangeRequest, _ *pb.RequestEmailChangeResponse) error {
	return h.core.RequestEmailChange(ctx, req.Id, req.Email)
}

// ConfirmEmailChange gives a customer the address that was asked for.
func (h *Customers) ConfirmEmailChange(ctx context.Context, req *pb.ConfirmEmailChangeRequest, rsp *pb.ConfirmEmailChangeResponse) error {
	c, err := h.core.ConfirmEmailChange(ctx, req.Id, req.Token)
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}
