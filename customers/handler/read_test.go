package handler_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

func TestRead(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.ReadReturns(jane, nil)
	rsp, err := e.Read(t.Context(), &pb.ReadRequest{Id: id, Email: "both go to the core, which refuses"})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.ReadArgsForCall(0)
	assert.Equal(t, service.Ref{ID: id, Email: "both go to the core, which refuses"}, got)
}

func TestList(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.ListReturns(service.Page{Customers: []service.Customer{jane, jane}, Next: "next"}, nil)
	rsp, err := e.List(t.Context(), &pb.ListRequest{
		PageSize: 2, PageToken: "token", Status: "active", Query: "ja", CreatedFrom: 5, CreatedTo: 6,
	})
	require.NoError(t, err)
	requireProto(t, &pb.ListResponse{Customers: []*pb.Customer{proto, proto}, NextPageToken: "next"}, rsp)
	require.Equal(t, 1, e.calls())
	_, got := e.core.ListArgsForCall(0)
	assert.Equal(t, service.ListQuery{Size: 2, Token: "token", Status: service.Active, Prefix: "ja", From: 5, To: 6}, got)
}

func TestListOfNobody(t *testing.T) {
	t.Parallel()
	e := setup(t)
	reply, err := e.raw.JSON(t.Context(), "Customers.List", ``)
	require.NoError(t, err)
	assert.JSONEq(t, `{"customers": [], "next_page_token": ""}`, reply)
}
