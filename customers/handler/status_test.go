package handler_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

func TestMarkVerified(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.MarkVerifiedReturns(jane, nil)
	rsp, err := e.MarkVerified(t.Context(), &pb.MarkVerifiedRequest{Email: "jane@example.com"})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.MarkVerifiedArgsForCall(0)
	assert.Equal(t, service.Ref{Email: "jane@example.com"}, got)
}

func TestActivate(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.ActivateReturns(jane, nil)
	rsp, err := e.Activate(t.Context(), &pb.ActivateRequest{Id: id})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.ActivateArgsForCall(0)
	assert.Equal(t, id, got)
}

func TestUndelete(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.UndeleteReturns(jane, nil)
	rsp, err := e.Undelete(t.Context(), &pb.UndeleteRequest{Id: id})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.UndeleteArgsForCall(0)
	assert.Equal(t, id, got)
}

func TestBan(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.BanReturns(jane, nil)
	rsp, err := e.Ban(t.Context(), &pb.BanRequest{Id: id, Email: "both go to the core, which refuses", Reason: "spam"})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got, reason := e.core.BanArgsForCall(0)
	assert.Equal(t, service.Ref{ID: id, Email: "both go to the core, which refuses"}, got)
	assert.Equal(t, "spam", reason)
}

func TestUnban(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.UnbanReturns(jane, nil)
	rsp, err := e.Unban(t.Context(), &pb.UnbanRequest{Id: id})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.UnbanArgsForCall(0)
	assert.Equal(t, service.Ref{ID: id}, got)
}
