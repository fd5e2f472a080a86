package accounts_test

import (
	"context"
	stderrors "errors"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	microauth "github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/accounts"
	"github.com/m3o/backend/customers/service/accounts/fakes"
	authfakes "github.com/m3o/backend/pkg/auth/fakes"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
)

const jane = "0190f8b0-0000-7000-8000-000000000000"

// stage is accounts of an auth service that does what the test says.
type stage struct {
	*accounts.Accounts
	auth     *authfakes.FakeAuthService
	known    *authfakes.FakeAccountsService
	sessions *fakes.FakeSessionsService
	// owner is whose every access token is.
	owner *microauth.Account
}

func setup(t *testing.T) *stage {
	t.Helper()
	s := &stage{auth: &authfakes.FakeAuthService{}, known: &authfakes.FakeAccountsService{}, sessions: &fakes.FakeSessionsService{}, owner: &microauth.Account{
		ID: jane, Type: "customer", Issuer: "micro", Metadata: map[string]string{token.SessionKey: "session"},
	}}
	var err error
	s.Accounts, err = accounts.New(accounts.Config{Auth: s.auth, Accounts: s.known, Sessions: s.sessions, Inspect: func(text string) (*microauth.Account, error) {
		if text != "access" {
			return nil, microauth.ErrInvalidToken
		}
		return s.owner, nil
	}})
	require.NoError(t, err)
	s.auth.TokenReturns(&pb.TokenResponse{Token: &pb.Token{AccessToken: "access", RefreshToken: "refresh", Expiry: 1_700_000_000}}, nil)
	return s
}

// calls is how often the auth service was called.
func (s *stage) calls() int {
	return s.auth.TokenCallCount() + s.sessions.RevokeCallCount() + s.sessions.BlockCallCount() + s.sessions.UnblockCallCount() +
		s.sessions.ListCallCount()
}

// requireOwnToken requires that a call is the service's own.
func requireOwnToken(t *testing.T, opts []client.CallOption) {
	t.Helper()
	var o client.CallOptions
	for _, f := range opts {
		f(&o)
	}
	require.True(t, o.AuthToken)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := accounts.New(accounts.Config{})
	require.EqualError(t, err, "accounts: a client of Auth is missing")
	_, err = accounts.New(accounts.Config{Auth: &authfakes.FakeAuthService{}})
	require.EqualError(t, err, "accounts: a client of Accounts is missing")
	_, err = accounts.New(accounts.Config{Auth: &authfakes.FakeAuthService{}, Accounts: &authfakes.FakeAccountsService{}})
	require.EqualError(t, err, "accounts: a client of Sessions is missing")
	_, err = accounts.New(accounts.Config{
		Auth: &authfakes.FakeAuthService{}, Accounts: &authfakes.FakeAccountsService{}, Sessions: &fakes.FakeSessionsService{},
	})
	require.EqualError(t, err, "accounts: what inspects tokens is missing")
}

func TestTokens(t *testing.T) {
	t.Parallel()
	want := service.Session{Account: jane, ID: "session", Token: service.Token{
		Access: "access", Refresh: "refresh", Expiry: time.Unix(1_700_000_000, 0).UTC(),
	}}
	for name, tc := range map[string]struct {
		call func(*stage, context.Context) (service.Session, error)
		want *pb.TokenRequest
	}{
		"log in": {
			func(s *stage, ctx context.Context) (service.Session, error) {
				return s.LogIn(ctx, jane, "correct horse")
			},
			&pb.TokenRequest{Id: jane, Secret: "correct horse", TokenExpiry: 300},
		},
		"refresh": {
			func(s *stage, ctx context.Context) (service.Session, error) { return s.Refresh(ctx, "before") },
			&pb.TokenRequest{RefreshToken: "before", TokenExpiry: 300},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			got, err := tc.call(s, t.Context())
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 1, s.calls())
			_, req, opts := s.auth.TokenArgsForCall(0)
			require.Equal(t, tc.want.String(), req.String())
			requireOwnToken(t, opts)

			s.owner = &microauth.Account{ID: "admin", Type: "user", Issuer: "micro", Scopes: []string{"admin"}}
			_, err = tc.call(s, t.Context())
			require.Equal(t, errors.KindUnauthenticated, errors.KindOf(err))
			s.auth.TokenReturns(&pb.TokenResponse{}, nil)
			_, err = tc.call(s, t.Context())
			require.Equal(t, errors.KindUnavailable, errors.KindOf(err))

			for code, kind := range map[int32]errors.Kind{
				400: errors.KindUnauthenticated, 401: errors.KindUnauthenticated, 403: errors.KindUnauthenticated,
				408: errors.KindUnavailable, 429: errors.KindTooMany, 500: errors.KindUnavailable, 503: errors.KindUnavailable,
			} {
				refused := &microerrors.Error{Id: "auth.Auth.Token", Code: code, Detail: "too many attempts have failed: try again in 7 seconds"}
				s.auth.TokenReturns(nil, refused)
				_, err := tc.call(s, t.Context())
				require.Equal(t, kind, errors.KindOf(err), "%d", code)
				require.ErrorIs(t, err, refused)
				require.Equal(t, code == 429, err.Error() == refused.Detail, "only this is the caller's business: %v", err)
			}
			s.auth.TokenReturns(nil, stderrors.New("connection refused"))
			_, err = tc.call(s, t.Context())
			require.Equal(t, errors.KindUnavailable, errors.KindOf(err))
		})
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		call  func(*stage, context.Context) error
		check func(*testing.T, *stage)
		fails func(*stage, error)
	}{
		"end": {
			func(s *stage, ctx context.Context) error { return s.End(ctx, jane, "session") },
			func(t *testing.T, s *stage) {
				_, req, opts := s.sessions.RevokeArgsForCall(0)
				assert.Equal(t, (&sessions.RevokeRequest{Account: jane, Session: "session"}).String(), req.String())
				requireOwnToken(t, opts)
			},
			func(s *stage, err error) { s.sessions.RevokeReturns(nil, err) },
		},
		"end all": {
			func(s *stage, ctx context.Context) error { return s.EndAll(ctx, jane) },
			func(t *testing.T, s *stage) {
				_, req, opts := s.sessions.RevokeArgsForCall(0)
				assert.Equal(t, (&sessions.RevokeRequest{Account: jane, All: true}).String(), req.String())
				requireOwnToken(t, opts)
			},
			func(s *stage, err error) { s.sessions.RevokeReturns(nil, err) },
		},
		"list": {
			func(s *stage, ctx context.Context) error { _, err := s.Sessions(ctx, jane); return err },
			func(t *testing.T, s *stage) {
				_, req, opts := s.sessions.ListArgsForCall(0)
				assert.Equal(t, jane, req.Account)
				requireOwnToken(t, opts)
			},
			func(s *stage, err error) { s.sessions.ListReturns(nil, err) },
		},
		"block": {
			func(s *stage, ctx context.Context) error { _, err := s.SetBlocked(ctx, jane, true); return err },
			func(t *testing.T, s *stage) {
				_, req, opts := s.sessions.BlockArgsForCall(0)
				assert.Equal(t, jane, req.Account)
				requireOwnToken(t, opts)
			},
			func(s *stage, err error) { s.sessions.BlockReturns(nil, err) },
		},
		"unblock": {
			func(s *stage, ctx context.Context) error { _, err := s.SetBlocked(ctx, jane, false); return err },
			func(t *testing.T, s *stage) {
				_, req, opts := s.sessions.UnblockArgsForCall(0)
				assert.Equal(t, jane, req.Account)
				requireOwnToken(t, opts)
			},
			func(s *stage, err error) { s.sessions.UnblockReturns(nil, err) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			require.NoError(t, tc.call(s, t.Context()))
			require.Equal(t, 1, s.calls())
			tc.check(t, s)
			for code, kind := range map[int32]errors.Kind{
				400: errors.KindInternal, 403: errors.KindInternal, 404: 0, 408: errors.KindUnavailable,
				500: errors.KindUnavailable, 503: errors.KindUnavailable,
			} {
				tc.fails(s, &microerrors.Error{Id: "auth.Sessions", Code: code, Detail: "no"})
				require.Equal(t, kind, errors.KindOf(tc.call(s, t.Context())), "%d", code)
			}
		})
	}
}

func TestSetBlockedTellsWhetherThereIsAnAccount(t *testing.T) {
	t.Parallel()
	for _, blocked := range []bool{true, false} {
		s := setup(t)
		exists, err := s.SetBlocked(t.Context(), jane, blocked)
		require.NoError(t, err)
		require.True(t, exists)
		missing := &microerrors.Error{Id: "auth.Sessions", Code: 404, Detail: "account: there is no such account"}
		s.sessions.BlockReturns(nil, missing)
		s.sessions.UnblockReturns(nil, missing)
		exists, err = s.SetBlocked(t.Context(), jane, blocked)
		require.NoError(t, err)
		require.False(t, exists)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	s := setup(t)
	require.NoError(t, s.Delete(t.Context(), jane))
	_, req, opts := s.known.DeleteArgsForCall(0)
	assert.Equal(t, jane, req.Id)
	requireOwnToken(t, opts)

	s.known.DeleteReturns(nil, microerrors.NotFound("auth", "no such account"))
	require.NoError(t, s.Delete(t.Context(), jane), "there is none, which is as good")
	s.known.DeleteReturns(nil, microerrors.Timeout("auth", "away"))
	require.Equal(t, errors.KindUnavailable, errors.KindOf(s.Delete(t.Context(), jane)))
}

// What the auth service lists is what the core gets; an account that does not exist has no sessions.
func TestListOfSessions(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.sessions.ListReturns(&sessions.ListResponse{Sessions: []*sessions.Session{{Id: "a", Created: 1, LastUsed: 2, Expires: 3}}}, nil)
	got, err := s.Sessions(t.Context(), jane)
	require.NoError(t, err)
	assert.Equal(t, []service.LogIn{
		{ID: "a", Created: time.Unix(1, 0).UTC(), Used: time.Unix(2, 0).UTC(), Expires: time.Unix(3, 0).UTC()},
	}, got)
	s.sessions.ListReturns(nil, &microerrors.Error{Id: "auth.Sessions", Code: 404, Detail: "no"})
	got, err = s.Sessions(t.Context(), jane)
	require.NoError(t, err)
	assert.Empty(t, got)
}
