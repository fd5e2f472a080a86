package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// Delete makes a customer inactive, or erases them.
func (h *Customers) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	if req.Force {
		return h.core.Erase(ctx, service.Ref{ID: req.Id, Email: req.Email})
	}
	return h.core.Delete(ctx, service.Ref{ID: req.Id, Email: req.Email})
}

// ReadErasure tells how far the erasure of a customer is.
func (h *Customers) ReadErasure(ctx context.Context, req *pb.ReadErasureRequest, rsp *pb.ReadErasureResponse) error {
	erasures, err := h.core.ReadErasure(ctx, req.Id)
	if err != nil {
		return err
	}
	for _, e := range erasures {
		one := &pb.Erasure{Service: e.Service, Requested: e.Requested.Unix(), Overdue: e.Overdue}
		if !e.Erased.IsZero() {
			one.Erased = e.Erased.Unix()
		}
		rsp.Erasures = append(rsp.Erasures, one)
	}
	return nil
}
