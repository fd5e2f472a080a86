package handler_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	protobuf "google.golang.org/protobuf/proto"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
)

// requireProto requires two messages to be the same.
func requireProto(t *testing.T, want, got protobuf.Message) {
	t.Helper()
	require.True(t, protobuf.Equal(want, got), "want %v\ngot  %v", want, got)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.CreateReturns(jane, nil)
	rsp, err := e.Create(t.Context(), &pb.CreateRequest{Email: "jane@example.com", Name: "Jane", Meta: map[string]string{"a": "b"}})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	require.Equal(t, 1, e.calls())
	_, got := e.core.CreateArgsForCall(0)
	assert.Equal(t, service.NewCustomer{Email: "jane@example.com", Name: "Jane", Meta: map[string]string{"a": "b"}}, got)
}

// The names and forms that callers of the JSON API see.
func TestCreateInJSON(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.CreateReturns(jane, nil)
	reply, err := e.raw.JSON(t.Context(), "Customers.Create", `{"email": "jane@example.com"}`)
	require.NoError(t, err)
	assert.JSONEq(t, `{"customer": {
		"id": "0190f8b0-0000-7000-8000-000000000000", "status": "active", "created": "1700000000",
		"email": "jane@example.com", "updated": "1800000000", "meta": {"a": "b"}, "name": "Jane", "version": "3"
	}}`, reply)
}
