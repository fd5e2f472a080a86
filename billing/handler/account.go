package handler

import (
	"context"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

// ReadAccount returns which tier a customer is on.
func (h *Billing) ReadAccount(ctx context.Context, req *pb.ReadAccountRequest, rsp *pb.ReadAccountResponse) error {
	account, err := h.core.ReadAccount(ctx, req.Id)
	if err != nil {
		return err
	}
	rsp.Account = toProto(account)
	return nil
}

// SubscribeTier puts a customer on a tier.
func (h *Billing) SubscribeTier(ctx context.Context, req *pb.SubscribeTierRequest, rsp *pb.SubscribeTierResponse) error {
	account, err := h.core.SubscribeTier(ctx, service.Subscribe{
		CustomerID: req.CustomerId, Tier: req.Id, Card: req.CardId, Key: req.IdempotencyKey,
	})
	if err != nil {
		return err
	}
	rsp.Account = toProto(account)
	return nil
}

// CancelSubscription puts a customer back on the tier that costs nothing.
func (h *Billing) CancelSubscription(ctx context.Context, req *pb.CancelSubscriptionRequest, rsp *pb.CancelSubscriptionResponse) error {
	account, err := h.core.CancelSubscription(ctx, req.CustomerId, req.AtPeriodEnd)
	if err != nil {
		return err
	}
	rsp.Account = toProto(account)
	return nil
}
