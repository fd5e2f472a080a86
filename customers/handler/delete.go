package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// Delete makes a customer inactive.
func (h *Customers) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	return h.core.Delete(ctx, service.Ref{ID: req.Id, Email: req.Email})
}
