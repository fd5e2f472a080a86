package handler

import (
	"context"

	pb "github.com/m3o/backend/signup/proto"
)

// SendVerificationEmail sends a token to somebody who wants to sign up.
func (h *Signup) SendVerificationEmail(ctx context.Context, req *pb.SendVerificationEmailRequest, _ *pb.SendVerificationEmailResponse) error {
	return h.core.SendVerificationEmail(ctx, req.Email)
}

// CompleteSignup makes somebody a customer who has got the token, and logs in.
func (h *Signup) CompleteSignup(ctx context.Context, req *pb.CompleteSignupRequest, rsp *pb.CompleteSignupResponse) error {
	session, err := h.core.CompleteSignup(ctx, req.Email, req.Token, req.Secret)
	if err != nil {
		return err
	}
	rsp.AuthToken, rsp.CustomerID, rsp.Namespace = session.AuthToken, session.CustomerID, session.Namespace
	return nil
}
