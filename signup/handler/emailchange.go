package handler

import (
	"context"

	pb "github.com/m3o/backend/signup/proto"
	"github.com/m3o/backend/signup/service"
)

// SendEmailChange sends the mails of a change of an address.
func (h *Signup) SendEmailChange(ctx context.Context, req *pb.SendEmailChangeRequest, _ *pb.SendEmailChangeResponse) error {
	return h.core.SendEmailChange(ctx, service.EmailChange{
		Email: req.Email, OldEmail: req.OldEmail, Token: req.Token, GoodFor: req.GoodFor,
	})
}
