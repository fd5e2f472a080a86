package handler_test

import (
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// Anybody may log in, with or without a token.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, caller := range []*auth.Account{nil, servicetest.Customer(id), servicetest.Admin, servicetest.Service("signup")} {
		e := setup(t)
		e.core.LoginReturns(service.Token{Access: "a", Refresh: "r", Expiry: time.Unix(1_700_000_000, 1)}, nil)
		rsp, err := pb.NewCustomersService("customers", e.raw.As(caller)).Login(t.Context(), &pb.LoginRequest{
			Email: "jane@example.com", Password: "correct horse", RefreshToken: "both go to the core, which refuses",
		})
		require.NoError(t, err)
		requireProto(t, &pb.LoginResponse{Token: &pb.Token{AccessToken: "a", RefreshToken: "r", Expiry: 1_700_000_000}}, rsp)
		require.Equal(t, 1, e.calls())
		_, got := e.core.LoginArgsForCall(0)
		assert.Equal(t, service.Credentials{
			Email: "jane@example.com", Password: "correct horse", RefreshToken: "both go to the core, which refuses",
		}, got)
	}
}

// A customer ends the session that the token is of, an admin all of a customer's.
func TestLogout(t *testing.T) {
	t.Parallel()
	inSession := servicetest.Customer(id)
	inSession.Metadata = map[string]string{token.SessionKey: "session"}
	admin := *servicetest.Admin
	admin.Metadata = map[string]string{token.SessionKey: "the admin's"}
	for name, tc := range map[string]struct {
		caller *auth.Account
		given  string
		want   service.Ending
	}{
		"customer":           {inSession, "", service.Ending{CustomerID: id, Session: "session"}},
		"by id":              {inSession, id, service.Ending{CustomerID: id, Session: "session"}},
		"without a session":  {servicetest.Customer(id), "", service.Ending{CustomerID: id}},
		"admin":              {&admin, id, service.Ending{CustomerID: id, All: true}},
		"admin about nobody": {&admin, "", service.Ending{All: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			_, err := pb.NewCustomersService("customers", e.raw.As(tc.caller)).Logout(t.Context(), &pb.LogoutRequest{CustomerId: tc.given})
			require.NoError(t, err)
			require.Equal(t, 1, e.calls())
			_, got := e.core.LogoutArgsForCall(0)
			assert.Equal(t, tc.want, got)
		})
	}
}
