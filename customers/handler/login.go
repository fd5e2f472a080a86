package handler

import (
	"context"

	microauth "github.com/micro/micro/v3/service/auth"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
)

// Login begins a session, or goes on with one.
func (h *Customers) Login(ctx context.Context, req *pb.LoginRequest, rsp *pb.LoginResponse) error {
	t, err := h.core.Login(ctx, service.Credentials{Email: req.Email, Password: req.Password, RefreshToken: req.RefreshToken})
	if err != nil {
		return err
	}
	rsp.Token = &pb.Token{AccessToken: t.Access, RefreshToken: t.Refresh, Expiry: t.Expiry.Unix()}
	return nil
}

// Logout ends the session that the customer calls in; of an admin, all of the customer's.
func (h *Customers) Logout(ctx context.Context, req *pb.LogoutRequest, _ *pb.LogoutResponse) error {
	ending := service.Ending{CustomerID: req.CustomerId}
	if auth.CallerFrom(ctx).Kind != auth.Customer {
		ending.All = true
	} else if account, ok := microauth.AccountFromContext(ctx); ok {
		ending.Session = account.Metadata[token.SessionKey]
	}
	return h.core.Logout(ctx, ending)
}
