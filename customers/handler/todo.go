package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/errors"
)

var errNotYet = errors.NotFound("", "not built yet")

func (h *Customers) MarkVerified(context.Context, *pb.MarkVerifiedRequest, *pb.MarkVerifiedResponse) error { return errNotYet }
func (h *Customers) Activate(context.Context, *pb.ActivateRequest, *pb.ActivateResponse) error { return errNotYet }
func (h *Customers) Ban(context.Context, *pb.BanRequest, *pb.BanResponse) error { return errNotYet }
func (h *Customers) Unban(context.Context, *pb.UnbanRequest, *pb.UnbanResponse) error { return errNotYet }
func (h *Customers) Login(context.Context, *pb.LoginRequest, *pb.LoginResponse) error { return errNotYet }
func (h *Customers) Logout(context.Context, *pb.LogoutRequest, *pb.LogoutResponse) error { return errNotYet }
