package handler

import (
	"context"

	pb "github.com/m3o/backend/mixpanel/proto"
)

// Ping answers with the service's time.
func (h *Mixpanel) Ping(ctx context.Context, _ *pb.PingRequest, rsp *pb.PingResponse) error {
	now, err := h.core.Now(ctx)
	if err != nil {
		return err
	}
	rsp.Time = now.Unix()
	return nil
}
