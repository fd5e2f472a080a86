package handler_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// A customer changes their own address, and nobody else's.
func TestEmailChange(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.ConfirmEmailChangeReturns(jane, nil)
	c := pb.NewCustomersService("customers", e.raw.As(servicetest.Customer(id)))
	_, err := c.RequestEmailChange(t.Context(), &pb.RequestEmailChangeRequest{Email: "joan@example.com"})
	require.NoError(t, err)
	_, customer, email := e.core.RequestEmailChangeArgsForCall(0)
	assert.Equal(t, []string{id, "joan@example.com"}, []string{customer, email})
	rsp, err := c.ConfirmEmailChange(t.Context(), &pb.ConfirmEmailChangeRequest{Token: "TOKEN"})
	require.NoError(t, err)
	requireProto(t, proto, rsp.Customer)
	_, customer, token := e.core.ConfirmEmailChangeArgsForCall(0)
	assert.Equal(t, []string{id, "TOKEN"}, []string{customer, token})
	require.Equal(t, 2, e.calls())

	_, err = c.RequestEmailChange(t.Context(), &pb.RequestEmailChangeRequest{Id: another, Email: "joan@example.com"})
	servicetest.RequireError(t, err, 403, "customers.Customers.RequestEmailChange", "")
	_, err = c.ConfirmEmailChange(t.Context(), &pb.ConfirmEmailChangeRequest{Id: another, Token: "TOKEN"})
	servicetest.RequireError(t, err, 403, "customers.Customers.ConfirmEmailChange", "")
	require.Equal(t, 2, e.calls())
}
