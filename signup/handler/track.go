package handler

import (
	"context"
	"time"

	pb "github.com/m3o/backend/signup/proto"
	"github.com/m3o/backend/signup/service"
)

// Track adds to what is known of a visitor.
func (h *Signup) Track(ctx context.Context, req *pb.TrackRequest, _ *pb.TrackResponse) error {
	return h.core.Track(ctx, service.Track{
		ID:                req.Id,
		Email:             req.Email,
		FirstVisit:        timeOf(req.FirstVisit),
		FirstVerification: timeOf(req.FirstVerification),
		Registration:      timeOf(req.Registration),
		Referrer:          req.Referrer,
	})
}

// ReadTrack returns what is known of a visitor.
func (h *Signup) ReadTrack(ctx context.Context, req *pb.ReadTrackRequest, rsp *pb.ReadTrackResponse) error {
	t, err := h.core.ReadTrack(ctx, req.Id)
	if err != nil {
		return err
	}
	rsp.Track = &pb.Track{
		Id:                t.ID,
		Email:             t.Email,
		FirstVisit:        secondsOf(t.FirstVisit),
		FirstVerification: secondsOf(t.FirstVerification),
		Registration:      secondsOf(t.Registration),
		Referrer:          t.Referrer,
	}
	return nil
}

// timeOf translates seconds since 1970 to a time, and 0 to the zero time: nothing was said.
func timeOf(seconds int64) time.Time {
	switch {
	case seconds == 0:
		return time.Time{}
	case seconds < 0:
		// The core refuses every time before 1970; the one that Go takes for the zero time must not pass for nothing.
		return time.Unix(-1, 0).UTC()
	default:
		return time.Unix(seconds, 0).UTC()
	}
}

func secondsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
