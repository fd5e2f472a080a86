package handler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

func TestDelete(t *testing.T) {
	t.Parallel()
	e := setup(t)
	rsp, err := e.Delete(t.Context(), &pb.DeleteRequest{Email: "jane@example.com"})
	require.NoError(t, err)
	requireProto(t, &pb.DeleteResponse{}, rsp)
	require.Equal(t, 1, e.calls())
	_, got := e.core.DeleteArgsForCall(0)
	assert.Equal(t, service.Ref{Email: "jane@example.com"}, got)
}

func TestDeleteWithForce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	rsp, err := e.Delete(t.Context(), &pb.DeleteRequest{Id: "1", Force: true})
	require.NoError(t, err)
	requireProto(t, &pb.DeleteResponse{}, rsp)
	_, got := e.core.EraseArgsForCall(0)
	assert.Equal(t, service.Ref{ID: "1"}, got)
	assert.Zero(t, e.core.DeleteCallCount())
}

func TestReadErasure(t *testing.T) {
	t.Parallel()
	e := setup(t)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	e.core.ReadErasureReturns([]service.Erasure{
		{Service: "billing", Requested: at, Overdue: true}, {Service: "usage", Requested: at, Erased: at.Add(time.Second)},
	}, nil)
	rsp, err := e.ReadErasure(t.Context(), &pb.ReadErasureRequest{Id: "1"})
	require.NoError(t, err)
	requireProto(t, &pb.ReadErasureResponse{Erasures: []*pb.Erasure{
		{Service: "billing", Requested: at.Unix(), Overdue: true}, {Service: "usage", Requested: at.Unix(), Erased: at.Unix() + 1},
	}}, rsp)
	_, id := e.core.ReadErasureArgsForCall(0)
	assert.Equal(t, "1", id)
}
