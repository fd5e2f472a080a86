package handler

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/m3o/backend/mixpanel/proto"
)

// Status answers with what has become of events.
func (h *Mixpanel) Status(ctx context.Context, _ *pb.StatusRequest, rsp *pb.StatusResponse) error {
	status, err := h.core.Status(ctx)
	if err != nil {
		return err
	}
	rsp.Destination, rsp.Refused = status.Destination, status.Refused
	rsp.Topics = make(map[string]*pb.TopicStatus, len(status.Topics))
	for topic, t := range status.Topics {
		answer := &pb.TopicStatus{
			Forwarded: t.Forwarded, Ignored: t.Ignored, Dead: t.Dead, Waiting: t.Waiting, Lag: t.Lag.Milliseconds(),
		}
		if !t.LastEvent.IsZero() {
			answer.LastEvent = timestamppb.New(t.LastEvent)
		}
		rsp.Topics[topic] = answer
	}
	return nil
}
