package handler

import (
	"context"

	pb "github.com/m3o/backend/customers/proto"
)

// ListSessions returns a customer's log-ins.
func (h *Customers) ListSessions(ctx context.Context, req *pb.ListSessionsRequest, rsp *pb.ListSessionsResponse) error {
	found, err := h.core.Sessions(ctx, req.CustomerId)
	if err != nil {
		return err
	}
	for _, s := range found {
		rsp.Sessions = append(rsp.Sessions, &pb.Session{
			Id: s.ID, Created: s.Created.Unix(), LastUsed: s.Used.Unix(), Expires: s.Expires.Unix(),
		})
	}
	return nil
}

// RevokeSession ends one log-in of a customer.
func (h *Customers) RevokeSession(ctx context.Context, req *pb.RevokeSessionRequest, _ *pb.RevokeSessionResponse) error {
	return h.core.RevokeSession(ctx, req.CustomerId, req.Id)
}
