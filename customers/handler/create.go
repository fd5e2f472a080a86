package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// Create adds a customer, or returns the one of the same address.
func (h *Customers) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	c, err := h.core.Create(ctx, service.NewCustomer{Email: req.Email, Name: req.Name, Meta: req.Meta})
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}
