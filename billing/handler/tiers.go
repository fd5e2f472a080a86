package handler

import (
	"context"

	pb "github.com/m3o/backend/billing/proto"
)

// ListTiers returns every tier, without what is Stripe's.
func (h *Billing) ListTiers(_ context.Context, _ *pb.ListTiersRequest, rsp *pb.ListTiersResponse) error {
	for _, t := range h.core.Tiers() {
		rsp.Tiers = append(rsp.Tiers, &pb.Tier{
			Id:           t.ID,
			Name:         t.Name,
			Price:        t.Price,
			Currency:     t.Currency,
			MonthlyQuota: t.MonthlyQuota,
			RateLimit:    t.RateLimit,
		})
	}
	return nil
}
