// Package accounts is the auth service as the core of customers sees it: each call of the core is a call of one of its RPCs,
// made with the service's own token, and what it refuses is an error of pkg/errors. The address that the caller came
// from, by which attempts to log in are counted, travels along with the context.
package accounts

import (
	"context"
	stderrors "errors"
	"net/http"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
)

// Config is what New needs.
type Config struct {
	// Auth, Accounts and Sessions are clients of the auth service.
	Auth     pb.AuthService
	Accounts pb.AccountsService
	Sessions sessions.SessionsService
	// Inspect tells whose an access token is, as auth.InspectShared does.
	Inspect auth.Inspect
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	switch {
	case c.Auth == nil:
		return stderrors.New("accounts: a client of Auth is missing")
	case c.Accounts == nil:
		return stderrors.New("accounts: a client of Accounts is missing")
	case c.Sessions == nil:
		return stderrors.New("accounts: a client of Sessions is missing")
	case c.Inspect == nil:
		return stderrors.New("accounts: what inspects tokens is missing")
	}
	return nil
}

// Accounts asks the auth service. It is safe for concurrent use.
type Accounts struct{ config Config }

var _ service.Accounts = (*Accounts)(nil)

// New returns the accounts of an auth service, or an error when the configuration is not valid.
func New(cfg Config) (*Accounts, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Accounts{cfg}, nil
}

// LogIn begins a session with a password.
func (a *Accounts) LogIn(ctx context.Context, account, password string) (service.Session, error) {
	return a.token(ctx, &pb.TokenRequest{Id: account, Secret: password})
}

// Refresh goes on with the session of a refresh token. One that is no customer's is refused like one that is not good, and
// used up all the same: whose it is, only the answer tells.
func (a *Accounts) Refresh(ctx context.Context, refreshToken string) (service.Session, error) {
	return a.token(ctx, &pb.TokenRequest{RefreshToken: refreshToken})
}

// longest is as long as an access token may live: the auth service cuts it.
const longest = int64(token.MaxAccess / time.Second)

func (a *Accounts) token(ctx context.Context, req *pb.TokenRequest) (service.Session, error) {
	req.TokenExpiry = longest
	rsp, err := a.config.Auth.Token(ctx, req, client.WithAuthToken())
	if err != nil {
		// The request was made here, so that what is said to be wrong with it can only be the credentials.
		return service.Session{}, refusal(err, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden)
	}
	issued := rsp.GetToken()
	account, err := a.config.Inspect(issued.GetAccessToken())
	if err != nil {
		return service.Session{}, errors.Unavailable("the auth service has given out a token that is not good: try again").WithCause(err)
	}
	if auth.CallerOf(account).Kind != auth.Customer {
		return service.Session{}, errors.Unauthenticated("the account is no customer's")
	}
	return service.Session{
		Account: account.ID, ID: account.Metadata[token.SessionKey],
		Token: service.Token{
			Access: issued.AccessToken, Refresh: issued.RefreshToken, Expiry: time.Unix(issued.Expiry, 0).UTC(),
		},
	}, nil
}

// End ends a session of an account.
func (a *Accounts) End(ctx context.Context, account, session string) error {
	_, err := a.config.Sessions.Revoke(ctx, &sessions.RevokeRequest{Account: account, Session: session}, client.WithAuthToken())
	return unlessMissing(err)
}

// EndAll ends all sessions of an account.
func (a *Accounts) EndAll(ctx context.Context, account string) error {
	_, err := a.config.Sessions.Revoke(ctx, &sessions.RevokeRequest{Account: account, All: true}, client.WithAuthToken())
	return unlessMissing(err)
}

// Sessions returns the sessions of an account that have not ended.
func (a *Accounts) Sessions(ctx context.Context, account string) ([]service.LogIn, error) {
	rsp, err := a.config.Sessions.List(ctx, &sessions.ListRequest{Account: account}, client.WithAuthToken())
	if err != nil {
		return nil, unlessMissing(err)
	}
	var found []service.LogIn
	for _, s := range rsp.GetSessions() {
		found = append(found, service.LogIn{
			ID: s.Id, Created: time.Unix(s.Created, 0).UTC(), Used: time.Unix(s.LastUsed, 0).UTC(), Expires: time.Unix(s.Expires, 0).UTC(),
		})
	}
	return found, nil
}

// SetBlocked lets nobody log in to an account, or lets its owner, and tells whether there is one.
func (a *Accounts) SetBlocked(ctx context.Context, account string, blocked bool) (bool, error) {
	var err error
	if blocked {
		_, err = a.config.Sessions.Block(ctx, &sessions.BlockRequest{Account: account}, client.WithAuthToken())
	} else {
		_, err = a.config.Sessions.Unblock(ctx, &sessions.UnblockRequest{Account: account}, client.WithAuthToken())
	}
	return err == nil, unlessMissing(err)
}

// Delete deletes an account.
func (a *Accounts) Delete(ctx context.Context, account string) error {
	_, err := a.config.Accounts.Delete(ctx, &pb.DeleteAccountRequest{Id: account}, client.WithAuthToken())
	return unlessMissing(err)
}

// unlessMissing is the error of a call about an account that need not exist.
func unlessMissing(err error) error {
	if err == nil || codeOf(err) == http.StatusNotFound {
		return nil
	}
	return refusal(err)
}

func codeOf(err error) int32 {
	if e, ok := stderrors.AsType[*microerrors.Error](err); ok {
		return e.Code
	}
	return 0
}

// refusal is an error of the auth service as the core knows it; those of some codes say that credentials are refused.
func refusal(err error, credentials ...int32) error {
	code := codeOf(err)
	for _, c := range credentials {
		if code == c {
			return errors.Unauthenticated("the credentials are refused").WithCause(err)
		}
	}
	if code == http.StatusTooManyRequests {
		e, _ := stderrors.AsType[*microerrors.Error](err)
		return errors.TooMany("%s", e.Detail).WithCause(err)
	}
	if code >= 400 && code < 500 && code != http.StatusRequestTimeout {
		// Ours to repair: the policy, or the request. Nobody who calls is to take it for theirs.
		return stderrors.New("the auth service refuses the call: " + err.Error())
	}
	return errors.Unavailable("the auth service cannot be asked at the moment: try again").WithCause(err)
}
