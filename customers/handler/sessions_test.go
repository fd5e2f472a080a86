package handler_test

import (
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/service/servicetest"
)

const another = "0190f8b0-0000-7000-8000-000000000001"

func TestListSessions(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.core.SessionsReturns([]service.LogIn{
		{ID: "b", Created: time.Unix(1, 0), Used: time.Unix(2, 0), Expires: time.Unix(3, 0)}, {ID: "a", Created: time.Unix(1, 0)},
	}, nil)
	rsp, err := pb.NewCustomersService("customers", e.raw.As(servicetest.Customer(id))).ListSessions(t.Context(), &pb.ListSessionsRequest{})
	require.NoError(t, err)
	require.Len(t, rsp.Sessions, 2)
	requireProto(t, &pb.Session{Id: "b", Created: 1, LastUsed: 2, Expires: 3}, rsp.Sessions[0])
	require.Equal(t, 1, e.calls())
	_, got := e.core.SessionsArgsForCall(0)
	assert.Equal(t, id, got)
}

func TestRevokeSession(t *testing.T) {
	t.Parallel()
	for _, caller := range []*auth.Account{servicetest.Customer(id), servicetest.Admin} {
		e := setup(t)
		_, err := pb.NewCustomersService("customers", e.raw.As(caller)).RevokeSession(t.Context(), &pb.RevokeSessionRequest{Id: "a", CustomerId: id})
		require.NoError(t, err)
		require.Equal(t, 1, e.calls())
		_, customer, session := e.core.RevokeSessionArgsForCall(0)
		assert.Equal(t, []string{id, "a"}, []string{customer, session})
	}
}

// Nobody sees or ends the sessions of another customer.
func TestSessionsOfAnotherCustomer(t *testing.T) {
	t.Parallel()
	e := setup(t)
	c := pb.NewCustomersService("customers", e.raw.As(servicetest.Customer(another)))
	_, err := c.ListSessions(t.Context(), &pb.ListSessionsRequest{CustomerId: id})
	servicetest.RequireError(t, err, 403, "customers.Customers.ListSessions", "")
	_, err = c.RevokeSession(t.Context(), &pb.RevokeSessionRequest{Id: "a", CustomerId: id})
	servicetest.RequireError(t, err, 403, "customers.Customers.RevokeSession", "")
	require.Zero(t, e.calls())
}
