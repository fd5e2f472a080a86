package handler_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/m3o/backend/mixpanel/proto"
	"github.com/m3o/backend/mixpanel/service"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	core, h := setup(t)
	at := time.Date(2030, 1, 1, 0, 0, 0, 5000, time.UTC)
	core.StatusReturns(service.Status{Destination: "mixpanel", Refused: true, Topics: map[string]service.TopicStatus{
		"customers": {Forwarded: 1, Ignored: 2, Waiting: 3, Dead: 4, LastEvent: at, Lag: 1500 * time.Millisecond},
		"usage":     {},
	}}, nil)
	var rsp pb.StatusResponse
	require.NoError(t, h.Status(t.Context(), &pb.StatusRequest{}, &rsp))
	require.Equal(t, 1, core.StatusCallCount())
	want := &pb.StatusResponse{Destination: "mixpanel", Refused: true, Topics: map[string]*pb.TopicStatus{
		"customers": {Forwarded: 1, Ignored: 2, Waiting: 3, Dead: 4, LastEvent: timestamppb.New(at), Lag: 1500},
		"usage":     {},
	}}
	require.True(t, proto.Equal(want, &rsp), "%v", &rsp)
}

func TestStatusFails(t *testing.T) {
	t.Parallel()
	core, h := setup(t)
	failure := errors.New("no database")
	core.StatusReturns(service.Status{}, failure)
	require.ErrorIs(t, h.Status(t.Context(), &pb.StatusRequest{}, &pb.StatusResponse{}), failure)
}
