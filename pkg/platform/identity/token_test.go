package identity

import (
	"context"
	stderrors "errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/client"
	grpcclient "github.com/micro/micro/v3/service/client/grpc"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/sessions"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
)

func TestLogIn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	for asked, want := range map[int64]time.Duration{
		0: token.MaxAccess, 1: time.Second, 60: time.Minute, 300: token.MaxAccess, 600: token.MaxAccess, math.MaxInt64: token.MaxAccess,
	} {
		issued, err := f.token(nobody(), &pb.TokenRequest{Id: "jane", Secret: secret, TokenExpiry: asked})
		require.NoError(t, err)
		require.InDelta(t, time.Now().Add(want).Unix(), issued.Expiry, 2)
		require.Equal(t, f.clock().Unix(), issued.Created)
		found, _, err := f.Verifier.Inspect(issued.AccessToken)
		if asked == 1 && err != nil {
			continue // a second may be over
		}
		require.NoError(t, err)
		require.Equal(t, access.Caller{Kind: access.Customer, ID: "jane"}, access.CallerOf(found))
		list, err := f.list(admin(), "jane")
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(list, func(s *sessions.Session) bool { return s.Id == found.Metadata[token.SessionKey] }))
	}
	rsp := new(pb.InspectResponse)
	requireLogInAgain(t, f.auth.Inspect(admin(), &pb.InspectRequest{Token: "x"}, rsp))
}

func TestLogInRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	for _, req := range []*pb.TokenRequest{
		{}, {Id: "jane"}, {Secret: secret}, {Id: "jane", Secret: secret, RefreshToken: issued.RefreshToken},
		{Id: "jane", Secret: secret, TokenExpiry: -1}, {RefreshToken: issued.RefreshToken, TokenExpiry: math.MinInt64},
		{Id: "jane", Secret: secret, Options: &pb.Options{Namespace: "other"}},
	} {
		_, err := f.token(nobody(), req)
		requireKind(t, errors.KindInvalid, err)
	}
	// One answer for all of them, so that nobody learns which accounts there are.
	for _, req := range []*pb.TokenRequest{
		{Id: "jane", Secret: "wrong"}, {Id: "joe", Secret: secret}, {Id: "jane\n", Secret: secret}, {Id: strings.Repeat("x", 300), Secret: secret},
		{Id: "jane", Secret: secret + "\x00" + secret}, {Id: "jane", Secret: strings.Repeat(secret, 6)},
		{Id: "jane", Secret: issued.AccessToken}, {Id: "jane", Secret: issued.RefreshToken},
		{Id: "platform/server", Secret: secret}, {Id: "jane/", Secret: secret}, {Id: "service/jane/latest", Secret: issued.AccessToken},
	} {
		_, err := f.token(nobody(), req)
		require.Equal(t, errCredentials, err)
	}
	last := issued.RefreshToken[len(issued.RefreshToken)-1:]
	for _, refresh := range []string{
		"x", noRefreshToken, issued.AccessToken, secret, issued.RefreshToken + " ", issued.RefreshToken[1:],
		strings.TrimSuffix(issued.RefreshToken, last), strings.ToLower(issued.RefreshToken), "microrefresh_../../account/micro/jane",
	} {
		_, err := f.refreshWith(refresh)
		requireLogInAgain(t, err)
	}
	_, err = f.refreshWith(issued.RefreshToken)
	require.NoError(t, err, "none of it has done any harm")
}

// bcrypt looks at 72 bytes and ends a secret with a zero: what is not the secret never counts as it.
func TestSecretIsWhole(t *testing.T) {
	t.Parallel()
	f := setup(t)
	longest := strings.Repeat("x", maxSecret)
	_, err := f.generate(admin(), &pb.GenerateRequest{Id: "jane", Secret: longest})
	require.NoError(t, err)
	_, err = f.logInAs("jane", longest)
	require.NoError(t, err)
	_, err = f.logInAs("jane", longest+"y")
	require.Equal(t, errCredentials, err)
}

func TestDerivedAccountsLogIn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for id, want := range map[string]access.Caller{
		"platform/server":          {Kind: access.Service, ID: "platform/server", Service: "platform/server"},
		"service/customers/latest": {Kind: access.Service, ID: "service/customers/latest", Service: "customers"},
		"sold/weather/latest":      {Kind: access.Sold, ID: "sold/weather/latest", Service: "weather"},
		"gateway/weather":          {Kind: access.Gateway, ID: "gateway/weather", Service: "weather"},
	} {
		issued, err := f.logInAs(id, f.Root.Secret(id))
		require.NoError(t, err)
		found, _, err := f.Verifier.Inspect(issued.AccessToken)
		require.NoError(t, err)
		require.Equal(t, want, access.CallerOf(found))
		require.NotContains(t, found.Metadata, token.SessionKey)
		require.NotEmpty(t, issued.RefreshToken, "Micro's clients would not come back without one")
		_, err = f.refreshWith(issued.RefreshToken)
		requireLogInAgain(t, err)
	}
	require.Empty(t, f.store.content(t))
	// However many fail, the platform gets in.
	for range 3 * addressBurst {
		_, err := f.logInAs("platform/server", "wrong")
		require.Equal(t, errCredentials, err)
		_, err = f.refreshWith(noRefreshToken)
		requireLogInAgain(t, err)
	}
	_, err := f.logInAs("platform/server", f.Root.Secret("platform/server"))
	require.NoError(t, err)
}

func TestBlockedAccount(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	require.NoError(t, f.block(service("customers"), "jane"))
	_, err = f.refreshWith(issued.RefreshToken)
	requireLogInAgain(t, err)
	_, err = f.logInAs("jane", secret)
	requireKind(t, errors.KindForbidden, err)
	_, err = f.logInAs("jane", "wrong")
	require.Equal(t, errCredentials, err, "only the owner learns that it is blocked")
	require.NoError(t, f.unblock(service("customers"), "jane"))
	_, err = f.refreshWith(issued.RefreshToken)
	requireLogInAgain(t, err)
	issued, err = f.logInAs("jane", secret)
	require.NoError(t, err)
	require.NoError(t, f.unblock(admin(), "jane"))
	_, err = f.refreshWith(issued.RefreshToken)
	require.NoError(t, err, "unblocking who is not blocked logs nobody out")
}

// Who knows the id of a session, as every service does that is called in it, cannot end it with a token that is made up.
func TestSessionIDIsNoSecret(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	list, err := f.list(admin(), "jane")
	require.NoError(t, err)
	require.Len(t, list, 1)
	part, id, _ := strings.Cut(list[0].Id, "-")
	_, err = f.refreshWith(newRefreshToken(part, (id + strings.Repeat("A", 26))[:26]))
	requireLogInAgain(t, err)
	issued, err = f.refreshWith(issued.RefreshToken)
	require.NoError(t, err)
	// One that shares the secret of the session is from somebody who had a token of it.
	_, err = f.refreshWith(newRefreshToken(part, strings.Split(issued.RefreshToken, "_")[2]))
	requireLogInAgain(t, err)
	_, err = f.refreshWith(issued.RefreshToken)
	requireLogInAgain(t, err)
	require.NotContains(t, fmt.Sprint(f.store.content(t)), issued.RefreshToken)
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	first, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	second, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	f.turn(time.Second)
	first, err = f.refreshWith(first.RefreshToken)
	require.NoError(t, err)
	for range maxSessions - 1 {
		f.turn(time.Second)
		_, err := f.logInAs("jane", secret)
		require.NoError(t, err)
	}
	list, err := f.list(admin(), "jane")
	require.NoError(t, err)
	require.Len(t, list, maxSessions)
	require.True(t, slices.IsSortedFunc(list, func(a, b *sessions.Session) int { return int(b.LastUsed - a.LastUsed) }))
	_, err = f.refreshWith(second.RefreshToken)
	requireLogInAgain(t, err)
	_, err = f.refreshWith(first.RefreshToken)
	require.NoError(t, err)
}

func TestRevokeSaysWhat(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	for _, req := range []*sessions.RevokeRequest{
		{Account: "jane"}, {Account: "jane", Session: "x", All: true}, {Session: "x"}, {Account: "service/a/b", All: true},
	} {
		requireKind(t, errors.KindInvalid, f.sessions.Revoke(admin(), req, nil))
	}
	requireKind(t, errors.KindNotFound, f.revoke(admin(), "joe", ""))
	f.add(t, "joe")
	issued, err := f.logInAs("joe", secret)
	require.NoError(t, err)
	list, err := f.list(admin(), "joe")
	require.NoError(t, err)
	require.NoError(t, f.revoke(admin(), "jane", list[0].Id), "of another account")
	_, err = f.refreshWith(issued.RefreshToken)
	require.NoError(t, err)
}

// A token that was used is good once more for as long as the grace, and not a moment longer: then its session ends.
func TestSpentToken(t *testing.T) {
	t.Parallel()
	for wait, good := range map[time.Duration]bool{0: true, grace: true, grace + time.Nanosecond: false, time.Hour: false} {
		f := setup(t)
		f.add(t, "jane")
		issued, err := f.logInAs("jane", secret)
		require.NoError(t, err)
		next, err := f.refreshWith(issued.RefreshToken)
		require.NoError(t, err)
		f.turn(wait)
		other, err := f.refreshWith(issued.RefreshToken)
		if !good {
			requireLogInAgain(t, err)
			_, err = f.refreshWith(next.RefreshToken)
			requireLogInAgain(t, err)
			require.Len(t, f.store.content(t), 2, "the session is gone")
			continue
		}
		require.NoError(t, err, wait)
		require.NotEqual(t, next.RefreshToken, other.RefreshToken)
		// Using it once more has not made the grace longer.
		f.turn(grace + time.Nanosecond - wait)
		_, err = f.refreshWith(next.RefreshToken)
		require.NoError(t, err)
		_, err = f.refreshWith(issued.RefreshToken)
		requireLogInAgain(t, err)
		_, err = f.refreshWith(other.RefreshToken)
		requireLogInAgain(t, err)
	}
}

// The secret is changed, or the account deleted, after it was checked and before the session begins.
func TestLogInWhileTheAccountChanges(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fixture) error{
		"changed": func(f *fixture) error {
			a, err := f.account("jane")
			a.Secret += "x"
			return stderrors.Join(err, f.write(accountPrefix+"jane", a))
		},
		"deleted": func(f *fixture) error { return f.store.Delete(accountPrefix + "jane") },
	} {
		f := setup(t)
		f.add(t, "jane")
		reads := 0
		f.store.onRead = func(string) {
			if reads++; reads == 2 { // the first was for the check
				require.NoError(t, change(f))
			}
		}
		_, err := f.logInAs("jane", secret)
		require.Equal(t, errCredentials, err, name)
		require.NotContains(t, fmt.Sprint(f.store.content(t)), sessionPrefix, name)
	}
}

// Many refresh one token at once, as commands do that share a file: all go on, in one session.
func TestRefreshAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	next := make(chan string, 16)
	var group errgroup.Group
	for range cap(next) {
		group.Go(func() error {
			issued, err := f.refreshWith(issued.RefreshToken)
			if err == nil {
				next <- issued.RefreshToken
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	close(next)
	f.turn(time.Hour)
	for refresh := range next {
		_, err := f.refreshWith(refresh)
		require.NoError(t, err)
	}
	list, err := f.list(admin(), "jane")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// Whatever happens at once, nobody who was blocked or whose secret was changed stays logged in.
func TestBlockAmongLogIns(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	tokens := make(chan string, 100)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for range 20 {
				issued, err := f.logInAs("jane", secret)
				if errors.KindOf(err) == errors.KindForbidden {
					return nil
				}
				if err != nil {
					return err
				}
				tokens <- issued.RefreshToken
			}
			return nil
		})
	}
	group.Go(func() error { return f.block(admin(), "jane") })
	require.NoError(t, group.Wait())
	close(tokens)
	list, err := f.list(admin(), "jane")
	require.NoError(t, err)
	require.Empty(t, list)
	n := 0
	for refresh := range tokens {
		if n++; n < addressBurst {
			_, err := f.refreshWith(refresh)
			requireLogInAgain(t, err)
		}
	}
}

// An account that there is not takes as long as a wrong secret: both are checked once. Coarsely, because machines differ.
func TestNoAccountTakesAsLong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var err error
	f.secrets, err = newSecrets(bcrypt.MinCost + 2)
	require.NoError(t, err)
	f.add(t, "jane")
	tries := []*pb.TokenRequest{
		{Id: "jane", Secret: "wrong secret"}, // the one that there is
		{Id: "joe", Secret: "wrong secret"}, {Id: "jo\ne", Secret: "x"}, {Id: "jane", Secret: strings.Repeat("x", 100)},
	}
	fastest := slices.Repeat([]time.Duration{time.Hour}, len(tries))
	for range accountBurst / 2 { // in turn, so that all have the same share of a busy machine
		for n, req := range tries {
			began := time.Now()
			_, err := f.token(nobody(), req)
			require.Equal(t, errCredentials, err)
			fastest[n] = min(fastest[n], time.Since(began))
		}
	}
	for _, other := range fastest {
		require.Greater(t, other, fastest[0]/4) // without the check it would be a hundredth
		require.Less(t, other, fastest[0]*4)
	}
}

// Micro's own server and client of Auth, as they are: who comes with credentials gets tokens, whatever the rest requires.
func TestRegister(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	s := grpcserver.NewServer(
		server.Name("auth"), server.Address("127.0.0.1:0"), server.Registry(registry.NewRegistry()), server.Broker(memory.NewBroker()),
	)
	require.NoError(t, f.Register(s))
	require.NoError(t, s.Start())
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	c := grpcclient.NewClient(client.Broker(memory.NewBroker()))
	at := client.WithAddress(s.Options().Address)

	rsp, err := pb.NewAuthService("auth", c).Token(context.Background(), &pb.TokenRequest{Id: "jane", Secret: secret}, at)
	require.NoError(t, err)
	_, err = f.refreshWith(rsp.Token.RefreshToken)
	require.NoError(t, err)
	for range addressBurst {
		_, err = pb.NewAuthService("auth", c).Token(context.Background(), &pb.TokenRequest{RefreshToken: "guess"}, at)
		require.ErrorContains(t, err, "invalid token provided")
	}
	_, err = pb.NewAuthService("auth", c).Token(context.Background(), &pb.TokenRequest{RefreshToken: "guess"}, at)
	require.ErrorContains(t, err, "try again", "the peer's address is known")
	require.Contains(t, f.attempts.addresses.byKey, "127.0.0.1")

	_, err = pb.NewAccountsService("auth", c).List(context.Background(), new(pb.ListAccountsRequest), at)
	require.ErrorContains(t, err, "only an admin", "nobody is taken for somebody where no interceptor says who calls")
	_, err = sessions.NewSessionsService("auth", c).List(context.Background(), &sessions.ListRequest{Account: "jane"}, at)
	require.ErrorContains(t, err, "only an admin")
}

// The RPCs of Sessions behind the real server: policies let through whom the handlers do, and errors have their codes.
func TestSessionsServed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	_, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	c := servicetest.Serve(t, "auth", func(s server.Server) error { return sessions.RegisterSessionsHandler(s, f.sessions) })
	for name, tc := range map[string]struct {
		account *auth.Account
		code    int
	}{
		"admin": {servicetest.Admin, 0}, "customers": {servicetest.Service("customers"), 0},
		"signup": {servicetest.Service("signup"), 403}, "jane": {servicetest.Customer("jane"), 403}, "nobody": {nil, 401},
	} {
		as := sessions.NewSessionsService("auth", c.As(tc.account))
		rsp, err := as.List(context.Background(), &sessions.ListRequest{Account: "jane"})
		if tc.code != 0 {
			servicetest.RequireError(t, err, tc.code, "auth.Sessions.List", "")
			_, err = as.Block(context.Background(), &sessions.BlockRequest{Account: "jane"})
			servicetest.RequireError(t, err, tc.code, "auth.Sessions.Block", "")
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, rsp.Sessions, 1)
		_, err = as.List(context.Background(), &sessions.ListRequest{Account: "joe"})
		servicetest.RequireError(t, err, 404, "auth.Sessions.List", "account: there is no such account")
	}
}
