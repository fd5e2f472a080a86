package handler_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/handler"
	"github.com/m3o/backend/mixpanel/handler/fakes"
	pb "github.com/m3o/backend/mixpanel/proto"
)

func setup(t *testing.T) (*fakes.FakeCore, *handler.Mixpanel) {
	t.Helper()
	core := &fakes.FakeCore{}
	h, err := handler.New(handler.Config{Core: core})
	require.NoError(t, err)
	return core, h
}

func TestNewNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := handler.New(handler.Config{})
	require.Error(t, err)
}

func TestPing(t *testing.T) {
	t.Parallel()
	core, h := setup(t)
	core.NowReturns(time.Unix(1_700_000_000, 0), nil)
	var rsp pb.PingResponse
	require.NoError(t, h.Ping(t.Context(), &pb.PingRequest{}, &rsp))
	require.EqualValues(t, 1_700_000_000, rsp.Time)
	require.Equal(t, 1, core.NowCallCount())
}

func TestPingFails(t *testing.T) {
	t.Parallel()
	core, h := setup(t)
	failure := errors.New("no time")
	core.NowReturns(time.Time{}, failure)
	var rsp pb.PingResponse
	require.ErrorIs(t, h.Ping(t.Context(), &pb.PingRequest{}, &rsp), failure)
	require.Zero(t, rsp.Time)
}
