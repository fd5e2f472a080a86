package handler_test

import (
	"testing"

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
