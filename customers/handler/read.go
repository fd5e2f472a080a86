package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// Read returns a customer.
func (h *Customers) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	c, err := h.core.Read(ctx, service.Ref{ID: req.Id, Email: req.Email})
	if err != nil {
		return err
	}
	rsp.Customer = toProto(c)
	return nil
}

// List returns a page of customers.
func (h *Customers) List(ctx context.Context, req *pb.ListRequest, rsp *pb.ListResponse) error {
	page, err := h.core.List(ctx, service.ListQuery{
		Size:   int(req.PageSize),
		Token:  req.PageToken,
		Status: service.Status(req.Status),
		Prefix: req.Query,
		From:   req.CreatedFrom,
		To:     req.CreatedTo,
	})
	if err != nil {
		return err
	}
	for _, c := range page.Customers {
		rsp.Customers = append(rsp.Customers, toProto(c))
	}
	rsp.NextPageToken = page.Next
	return nil
}
