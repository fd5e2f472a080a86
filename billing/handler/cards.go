package handler

import (
	"context"

	pb "github.com/m3o/backend/billing/proto"
)

// SetupCard begins to add a card.
func (h *Billing) SetupCard(ctx context.Context, req *pb.SetupCardRequest, rsp *pb.SetupCardResponse) error {
	secret, err := h.core.SetupCard(ctx, req.CustomerId)
	if err != nil {
		return err
	}
	rsp.ClientSecret = secret
	return nil
}

// ListCards returns the cards of a customer.
func (h *Billing) ListCards(ctx context.Context, req *pb.ListCardsRequest, rsp *pb.ListCardsResponse) error {
	cards, err := h.core.ListCards(ctx, req.CustomerId)
	if err != nil {
		return err
	}
	for _, c := range cards {
		rsp.Cards = append(rsp.Cards, &pb.Card{
			Id: c.ID, Brand: c.Brand, Last4: c.Last4, ExpMonth: int32(c.ExpMonth), ExpYear: int32(c.ExpYear),
		})
	}
	return nil
}

// DeleteCard removes a card.
func (h *Billing) DeleteCard(ctx context.Context, req *pb.DeleteCardRequest, _ *pb.DeleteCardResponse) error {
	return h.core.DeleteCard(ctx, req.CustomerId, req.Id)
}
