package handler

import (
	"context"

	pb "github.com/m3o/backend/signup/proto"
)

// Recover sends a token to somebody who has forgotten the password.
func (h *Signup) Recover(ctx context.Context, req *pb.RecoverRequest, _ *pb.RecoverResponse) error {
	return h.core.Recover(ctx, req.Email)
}

// ResetPassword gives somebody another password who has got the token.
func (h *Signup) ResetPassword(ctx context.Context, req *pb.ResetPasswordRequest, _ *pb.ResetPasswordResponse) error {
	return h.core.ResetPassword(ctx, req.Email, req.Token, req.Password)
}
