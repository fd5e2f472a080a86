package handler

import (
	"context"

	pb "github.com/m3o/backend/usage/proto"
)

// ReadMonthlyTotal returns what a customer has called this month.
func (h *Usage) ReadMonthlyTotal(ctx context.Context, req *pb.ReadMonthlyTotalRequest, rsp *pb.ReadMonthlyTotalResponse) error {
	total, err := h.core.MonthlyTotal(ctx, req.CustomerId, req.Detail)
	if err != nil {
		return err
	}
	rsp.Requests = total.Requests
	rsp.EndpointRequests = total.Endpoints
	return nil
}
