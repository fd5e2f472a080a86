package handler

import (
	"context"

	pb "github.com/m3o/backend/usage/proto"
)

// whole stands for everything where numbers are by endpoint.
const whole = "*"

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

// ReadMonthly returns what a customer has called this month, and may call.
func (h *Usage) ReadMonthly(ctx context.Context, req *pb.ReadMonthlyRequest, rsp *pb.ReadMonthlyResponse) error {
	month, err := h.core.Monthly(ctx, req.CustomerId, req.Endpoints)
	if err != nil {
		return err
	}
	rsp.Requests = make(map[string]int64, len(month.Endpoints)+1)
	for name, requests := range month.Endpoints {
		rsp.Requests[name] = requests
	}
	rsp.Requests[whole] = month.Requests
	rsp.Quotas = map[string]int64{whole: month.Allowed.Quota}
	rsp.Tier = month.Allowed.Tier
	return nil
}
