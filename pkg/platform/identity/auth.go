package identity

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
)

// authHandler answers the RPCs of Auth.
type authHandler struct{ *Identity }

var (
	// errCredentials does not say which of the two is wrong.
	errCredentials = errors.Unauthenticated("there is no account with that id and secret: check both, or ask an admin for a new secret")
	// errRefresh has the detail that makes Micro's clients log in again with their credentials.
	errRefresh = errors.Invalid("", "%s", auth.ErrInvalidToken)
)

// Generate makes an account. Without a secret it gets one that nobody can guess, and which is in the answer only.
func (h authHandler) Generate(ctx context.Context, req *pb.GenerateRequest, rsp *pb.GenerateResponse) error {
	caller := access.CallerFrom(ctx)
	if err := mayName(caller); err != nil {
		return err
	}
	if err := validNamespace(req.Options); err != nil {
		return err
	}
	if req.Provider != "" {
		return errors.Invalid("provider", "must be empty")
	}
	given := &auth.Account{
		ID: req.Id, Name: req.Name, Type: req.Type, Issuer: namespace.DefaultNamespace,
		Scopes: req.Scopes, Metadata: req.Metadata, Secret: req.Secret,
	}
	if given.Name == "" {
		given.Name = given.ID
	}
	if given.Type == "" {
		given.Type = typeUser
	}
	if given.Secret == "" {
		given.Secret = rand.Text()
	}
	leave, err := h.secrets.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	made, err := h.create(caller, given)
	if err != nil {
		return err
	}
	rsp.Account = toProto(made)
	rsp.Account.Secret = given.Secret
	return nil
}

// Inspect tells whose an access token is, if it is good. Whoever has a token can read that in it, and Micro's command line
// asks before it has logged in.
func (h authHandler) Inspect(_ context.Context, req *pb.InspectRequest, rsp *pb.InspectResponse) error {
	if err := validNamespace(req.Options); err != nil {
		return err
	}
	found, _, err := h.Verifier.Inspect(req.Token)
	if err != nil {
		return errRefresh
	}
	rsp.Account = toProto(found)
	return nil
}

// Token logs in, with an id or a name and a secret, or goes on with the session of a refresh token.
func (h authHandler) Token(ctx context.Context, req *pb.TokenRequest, rsp *pb.TokenResponse) error {
	if err := validNamespace(req.Options); err != nil {
		return err
	}
	if req.TokenExpiry < 0 {
		return errors.Invalid("token_expiry", "must be in seconds from now, or 0 for as long as possible")
	}
	lifetime := token.MaxAccess
	if req.TokenExpiry > 0 {
		lifetime = time.Duration(min(req.TokenExpiry, int64(token.MaxAccess/time.Second))) * time.Second
	}
	credentials := req.Id != "" && req.Secret != ""
	var (
		issued *pb.Token
		err    error
	)
	switch {
	case credentials == (req.RefreshToken != ""):
		return errors.Invalid("", "expected either id and secret, or refresh_token")
	case req.RefreshToken == noRefreshToken:
		return errRefresh // no attempt at anything, which would count
	case req.RefreshToken != "":
		issued, err = h.refresh(req.RefreshToken, addressOf(ctx), lifetime)
	case strings.Contains(req.Id, "/"):
		issued, err = h.logInDerived(req.Id, req.Secret, lifetime)
	default:
		issued, err = h.logIn(ctx, req.Id, req.Secret, lifetime)
	}
	if err != nil {
		return err
	}
	issued.Created = h.Clock().Unix()
	rsp.Token = issued
	return nil
}

// logInDerived gives a part of the platform, or a service, an access token. Attempts are not counted: there are too many
// possible secrets to try, and nobody must be able to lock the platform out of itself.
func (i *Identity) logInDerived(id, secret string, lifetime time.Duration) (*pb.Token, error) {
	a, err := i.Root.Account(id, secret)
	if err != nil {
		return nil, errCredentials
	}
	return i.sign(a, "", noRefreshToken, lifetime)
}

// logIn begins a session.
func (i *Identity) logIn(ctx context.Context, login, secret string, lifetime time.Duration) (*pb.Token, error) {
	found, err := i.authenticate(ctx, login, secret)
	if err != nil {
		return nil, err
	}
	defer i.locks.lock(partOf(found.ID))()
	// The secret was checked without the lock, because that takes its time.
	a, err := i.account(found.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case a == nil || a.Secret != found.Secret:
		return nil, errCredentials
	case !a.mayLogIn():
		return nil, errors.Forbidden("the account is blocked: ask an admin")
	}
	s, refresh := newSession(a, i.Clock())
	issued, err := i.sign(&a.Account, s.ID, refresh, lifetime)
	if err != nil {
		return nil, err
	}
	if err := i.makeRoom(a); err != nil {
		return nil, err
	}
	return issued, i.writeSession(s)
}

// authenticate returns the account that an id or a name and a secret are of. Failed attempts are counted, and after too
// many of them it is not even looked whether the secret is right.
func (i *Identity) authenticate(ctx context.Context, login, secret string) (*account, error) {
	from := source{account: login, address: addressOf(ctx)}
	var a *account
	if isLogin(login) {
		var err error
		if a, err = i.find(login); err != nil {
			return nil, err
		}
	} else {
		from.account = "" // nobody's: nothing to protect
	}
	if a != nil {
		from.account = a.ID // by whichever of its two names
	}
	if err := i.attempts.check(from); err != nil {
		return nil, err
	}
	leave, err := i.secrets.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// Others may have failed while this one was waiting.
	if err := i.attempts.check(from); err != nil {
		return nil, err
	}
	if !i.secrets.right(a, secret) {
		i.attempts.failed(from)
		return nil, errCredentials
	}
	return a, nil
}

// refresh goes on with a session.
func (i *Identity) refresh(text, address string, lifetime time.Duration) (*pb.Token, error) {
	// A good token is good from anywhere: whoever fails on purpose must not log out everybody behind the same address.
	issued, err := i.rotate(text, lifetime)
	if err != nil || issued != nil {
		return issued, err
	}
	from := source{address: address}
	if err := i.attempts.check(from); err != nil {
		return nil, err
	}
	i.attempts.failed(from)
	return nil, errRefresh
}

// rotate returns the next tokens of a session; none if the refresh token is not good.
func (i *Identity) rotate(text string, lifetime time.Duration) (*pb.Token, error) {
	part, id, ok := sessionIDOf(text)
	if !ok {
		return nil, nil
	}
	defer i.locks.lock(part)()
	s := new(session)
	if ok, err := i.read(sessionPrefix+id, s); err != nil || !ok {
		return nil, err
	}
	a, err := i.account(s.Account)
	if err != nil {
		return nil, err
	}
	next, ok := "", false
	if s.goesOn(a, i.Clock()) {
		next, ok = s.rotate(text, i.Clock())
	}
	if !ok {
		// It has ended; or the token was used before, so that two have it, one of whom is a thief.
		return nil, i.endSession(id)
	}
	// Signed first: a session whose tokens could not be given out must not go on with others.
	issued, err := i.sign(&a.Account, s.ID, next, lifetime)
	if err != nil {
		return nil, err
	}
	if err := i.writeSession(s); err != nil {
		return nil, err
	}
	return issued, nil
}

func (i *Identity) sign(a *auth.Account, session, refresh string, lifetime time.Duration) (*pb.Token, error) {
	text, expiry, err := i.Signer.Sign(a, session, lifetime)
	if err != nil {
		return nil, err
	}
	return &pb.Token{AccessToken: text, RefreshToken: refresh, Expiry: expiry.Unix()}, nil
}

// toProto returns an account as it is shown, without its secret.
func toProto(a *auth.Account) *pb.Account {
	return &pb.Account{Id: a.ID, Name: a.Name, Type: a.Type, Issuer: a.Issuer, Scopes: a.Scopes, Metadata: a.Metadata}
}
