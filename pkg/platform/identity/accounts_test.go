package identity

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
)

func (f *fixture) generate(ctx context.Context, req *pb.GenerateRequest) (*pb.Account, error) {
	rsp := new(pb.GenerateResponse)
	err := f.auth.Generate(ctx, req, rsp)
	return rsp.Account, err
}

// Each caller tries everything on each sort of account. Who may not is refused, whatever else is wrong, and changes nothing.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	callers := map[string]context.Context{
		"admin": admin(), "customers": service("customers"), "signup": service("signup"), "other-service": service("usage"),
		"platform": service(access.Platform), "nobody": nobody(), "joe": customer("joe"), "jane": customer("jane"),
		"user":         as(access.Caller{Kind: access.Other, ID: "user"}),
		"sold-service": as(access.Caller{Kind: access.Sold, ID: "sold/weather/latest", Service: "weather"}),
	}
	makeOne := func(kind string, scopes ...string) func(*fixture, context.Context) error {
		return func(f *fixture, ctx context.Context) error {
			_, err := f.generate(ctx, &pb.GenerateRequest{Id: "new", Type: kind, Scopes: scopes})
			return err
		}
	}
	on := func(do func(*fixture, context.Context, string) error, id string) func(*fixture, context.Context) error {
		return func(f *fixture, ctx context.Context) error { return do(f, ctx, id) }
	}
	setSecret := func(f *fixture, ctx context.Context, id string) error {
		return f.changeSecret(ctx, id, "", "another secret")
	}
	ownSecret := func(f *fixture, ctx context.Context, id string) error {
		return f.changeSecret(ctx, id, secret, "another secret")
	}
	listSessions := func(f *fixture, ctx context.Context, id string) error {
		_, err := f.list(ctx, id)
		return err
	}
	revokeAll := func(f *fixture, ctx context.Context, id string) error { return f.revoke(ctx, id, "") }
	type action = func(*fixture, context.Context) error
	for name, tc := range map[string]struct {
		do  action
		may string
		but map[string]errors.Kind // where it is refused otherwise than with 403
	}{
		"make a customer":             {makeOne("customer"), "admin customers signup", nil},
		"make a customer with scopes": {makeOne("customer", "admin"), "admin", nil},
		"make a user":                 {makeOne("user"), "admin", nil},
		"make an admin":               {makeOne("user", "admin"), "admin", nil},
		"make what has no type":       {makeOne(""), "admin", nil},
		"delete a customer":           {on((*fixture).remove, "jane"), "admin customers signup", nil},
		"delete a user":               {on((*fixture).remove, "user"), "admin", nil},
		"set a customer's secret":     {on(setSecret, "jane"), "admin customers signup", map[string]errors.Kind{"jane": errors.KindInvalid}},
		"set a user's secret":         {on(setSecret, "user"), "admin", map[string]errors.Kind{"user": errors.KindInvalid}},
		"change a customer's secret":  {on(ownSecret, "jane"), "admin customers signup jane", nil},
		"change a user's secret":      {on(ownSecret, "user"), "admin user", nil},
		"change nobody's secret": {on(ownSecret, "missing"), "", map[string]errors.Kind{
			"admin": errors.KindNotFound, "customers": errors.KindNotFound, "signup": errors.KindNotFound,
		}},
		"list a customer's sessions": {on(listSessions, "jane"), "admin customers signup", nil},
		"list a user's sessions":     {on(listSessions, "user"), "admin", nil},
		"log a customer out":         {on(revokeAll, "jane"), "admin customers signup", nil},
		"log a user out":             {on(revokeAll, "user"), "admin", nil},
		"block a customer":           {on((*fixture).block, "jane"), "admin customers signup", nil},
		"block a user":               {on((*fixture).block, "user"), "admin", nil},
		"unblock a customer":         {on((*fixture).unblock, "jane"), "admin customers signup", nil},
		"unblock a user":             {on((*fixture).unblock, "user"), "admin", nil},
		"list accounts": {func(f *fixture, ctx context.Context) error {
			return f.accounts.List(ctx, new(pb.ListAccountsRequest), new(pb.ListAccountsResponse))
		}, "admin", nil},
	} {
		for caller, ctx := range callers {
			f := setup(t)
			f.add(t, "jane")
			_, err := f.generate(admin(), &pb.GenerateRequest{Id: "user", Secret: secret})
			require.NoError(t, err)
			before := f.store.content(t)
			err = tc.do(f, ctx)
			if strings.Contains(" "+tc.may+" ", " "+caller+" ") {
				require.NoError(t, err, "%s by %s", name, caller)
				continue
			}
			want, ok := tc.but[caller]
			if !ok {
				want = errors.KindForbidden
			}
			requireKind(t, want, err, "%s by %s", name, caller)
			require.Equal(t, before, f.store.content(t), "%s by %s", name, caller)
		}
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	f := setup(t)
	made, err := f.generate(admin(), &pb.GenerateRequest{Id: "jane", Type: "customer", Metadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.Len(t, made.Secret, 26)
	require.Equal(t, "jane", made.Name)
	require.Equal(t, "micro", made.Issuer)
	require.Equal(t, map[string]string{"a": "b", "created": fmt.Sprint(f.clock().Unix())}, made.Metadata)
	_, err = f.logInAs("jane", made.Secret)
	require.NoError(t, err)
	for _, value := range f.store.content(t) {
		require.NotContains(t, value, made.Secret)
	}

	rsp := new(pb.ListAccountsResponse)
	require.NoError(t, f.accounts.List(admin(), new(pb.ListAccountsRequest), rsp))
	made.Secret = ""
	require.Equal(t, []*pb.Account{made}, rsp.Accounts)
}

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	long := strings.Repeat("x", 255)
	many := make(map[string]string)
	for i := range 51 {
		many[fmt.Sprint(i)] = ""
	}
	before := f.store.content(t)
	for field, changes := range map[string][]func(*pb.GenerateRequest){
		"id": {
			func(r *pb.GenerateRequest) { r.Id = "" }, func(r *pb.GenerateRequest) { r.Id = long },
			func(r *pb.GenerateRequest) { r.Id = "platform/server" }, func(r *pb.GenerateRequest) { r.Id = "/" },
			func(r *pb.GenerateRequest) { r.Id = "a\nb" }, func(r *pb.GenerateRequest) { r.Id = "a\x00" }, func(r *pb.GenerateRequest) { r.Id = "a\xff" },
		},
		"name":   {func(r *pb.GenerateRequest) { r.Name = long }, func(r *pb.GenerateRequest) { r.Name = "service/a/b" }, func(r *pb.GenerateRequest) { r.Name = "\u0085" }},
		"secret": {func(r *pb.GenerateRequest) { r.Secret = "1234567" }, func(r *pb.GenerateRequest) { r.Secret = strings.Repeat("x", 73) }, func(r *pb.GenerateRequest) { r.Secret = "correct\x00horse" }},
		"type":   {func(r *pb.GenerateRequest) { r.Type = "service" }, func(r *pb.GenerateRequest) { r.Type = "admin" }},
		"scopes": {
			func(r *pb.GenerateRequest) { r.Scopes = []string{""} }, func(r *pb.GenerateRequest) { r.Scopes = []string{long} },
			func(r *pb.GenerateRequest) { r.Scopes = make([]string, 21) },
		},
		"metadata": {
			func(r *pb.GenerateRequest) { r.Metadata = many }, func(r *pb.GenerateRequest) { r.Metadata = map[string]string{"": ""} },
			func(r *pb.GenerateRequest) { r.Metadata = map[string]string{strings.Repeat("é", 41): ""} },
			func(r *pb.GenerateRequest) { r.Metadata = map[string]string{"a": strings.Repeat("é", 501)} },
			func(r *pb.GenerateRequest) { r.Metadata = map[string]string{"service": "customers"} },
			func(r *pb.GenerateRequest) { r.Metadata = map[string]string{"sold": "false"} },
			func(r *pb.GenerateRequest) { r.Metadata = map[string]string{"session": "x"} },
		},
		"provider":          {func(r *pb.GenerateRequest) { r.Provider = "x" }},
		"options.namespace": {func(r *pb.GenerateRequest) { r.Options = &pb.Options{Namespace: "other"} }},
	} {
		for n, change := range changes {
			req := &pb.GenerateRequest{Id: "jane", Type: "customer"}
			change(req)
			_, err := f.generate(admin(), req)
			requireKind(t, errors.KindInvalid, err, "%s %d", field, n)
			require.Regexp(t, "^"+field+": ", err.Error())
		}
	}
	require.Equal(t, before, f.store.content(t))
}

// Ids and names log in alike, so that nobody gets a name, or an id, that is somebody's already.
func TestIDsAndNamesAreTaken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, err := f.generate(admin(), &pb.GenerateRequest{Id: "1", Name: "jane", Secret: secret})
	require.NoError(t, err)
	before := f.store.content(t)
	for _, req := range []*pb.GenerateRequest{
		{Id: "1"}, {Id: "1", Name: "joe"}, {Id: "2", Name: "jane"}, {Id: "jane"}, {Id: "jane", Name: "joe"}, {Id: "2", Name: "1"},
	} {
		_, err := f.generate(admin(), req)
		requireKind(t, errors.KindConflict, err, req)
	}
	require.Equal(t, before, f.store.content(t))
	for _, login := range []string{"1", "jane"} {
		_, err = f.logInAs(login, secret)
		require.NoError(t, err)
	}
	require.NoError(t, f.remove(admin(), "jane"))
	_, err = f.generate(admin(), &pb.GenerateRequest{Id: "jane", Name: "1"})
	require.NoError(t, err)
}

// Of many who want one name at once exactly one gets it.
func TestOneGetsTheName(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var group errgroup.Group
	made := make(chan string, 20)
	for n := range 20 {
		group.Go(func() error {
			id := fmt.Sprint(n % 10)
			_, err := f.generate(admin(), &pb.GenerateRequest{Id: id, Name: "jane", Secret: secret})
			if err == nil {
				made <- id
				return nil
			}
			if errors.KindOf(err) == errors.KindConflict {
				return nil
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	close(made)
	require.Len(t, made, 1)
	a, err := f.find("jane")
	require.NoError(t, err)
	require.Equal(t, <-made, a.ID)
	require.Len(t, f.store.content(t), 2)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	require.NoError(t, f.remove(service("customers"), "jane"))
	require.Empty(t, f.store.content(t))
	_, err = f.refreshWith(issued.RefreshToken)
	requireLogInAgain(t, err)
	_, err = f.logInAs("jane", secret)
	requireKind(t, errors.KindUnauthenticated, err)
	requireKind(t, errors.KindNotFound, f.remove(admin(), "jane"))
	requireKind(t, errors.KindInvalid, f.remove(admin(), "service/customers/latest"))

	// Who comes after has the id, and nothing of who was there before.
	f.add(t, "jane")
	_, err = f.refreshWith(issued.RefreshToken)
	requireLogInAgain(t, err)

	require.NoError(t, f.CreateAdmin("admin", secret))
	requireKind(t, errors.KindInvalid, f.remove(admin(), "admin"))
	requireKind(t, errors.KindInvalid, f.block(admin(), "admin"))
}

func TestChangeSecret(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, "jane")
	first, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	for _, tc := range []struct {
		ctx       context.Context
		old, next string
	}{
		{customer("jane"), "", "another secret"},
		{customer("jane"), "wrong", "another secret"},
		{customer("jane"), secret, "short"},
		{customer("jane"), secret, strings.Repeat("x", 73)},
		{admin(), "wrong", "another secret"}, // not needed, but checked where it is given
		{service("customers"), "wrong", "another secret"},
	} {
		requireKind(t, errors.KindInvalid, f.changeSecret(tc.ctx, "jane", tc.old, tc.next))
	}
	first, err = f.refreshWith(first.RefreshToken)
	require.NoError(t, err)

	require.NoError(t, f.changeSecret(customer("jane"), "jane", secret, "another secret"))
	_, err = f.refreshWith(first.RefreshToken)
	requireLogInAgain(t, err)
	_, err = f.logInAs("jane", secret)
	requireKind(t, errors.KindUnauthenticated, err)
	_, err = f.logInAs("jane", "another secret")
	require.NoError(t, err)
}

// The store fails at each change in turn. What decides is then wholly there or not at all, and a second attempt does it.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	type step struct {
		do   func(*fixture) error
		done func(*fixture) bool
	}
	good := func(f *fixture, secret string) bool {
		_, err := f.logInAs("jane", secret)
		return err == nil
	}
	refused := func(t *testing.T, f *fixture, refresh string) {
		t.Helper()
		f.store.fail(-1)
		_, err := f.refreshWith(refresh)
		requireLogInAgain(t, err)
	}
	for name, s := range map[string]step{
		"change": {
			func(f *fixture) error { return f.changeSecret(admin(), "jane", "", "another secret") },
			func(f *fixture) bool { return good(f, "another secret") },
		},
		"delete": {
			func(f *fixture) error { return f.remove(admin(), "jane") },
			func(f *fixture) bool { return !good(f, secret) },
		},
		"block": {
			func(f *fixture) error { return f.block(admin(), "jane") },
			func(f *fixture) bool { return !good(f, secret) },
		},
	} {
		for after := range 5 {
			f := setup(t)
			f.add(t, "jane")
			issued, err := f.logInAs("jane", secret)
			require.NoError(t, err)
			f.store.fail(after)
			err = s.do(f)
			f.store.fail(-1)
			require.Equal(t, err == nil, s.done(f), "%s after %d: what is answered is what is so", name, after)
			if err == nil {
				refused(t, f, issued.RefreshToken)
				continue
			}
			require.ErrorIs(t, err, errFault)
			_, err = f.refreshWith(issued.RefreshToken)
			require.NoError(t, err, "%s after %d: nothing has changed", name, after)
			require.NoError(t, s.do(f))
			require.True(t, s.done(f))
		}
	}
	for after := range 3 {
		f := setup(t)
		f.store.fail(after)
		_, err := f.generate(admin(), &pb.GenerateRequest{Id: "1", Name: "jane", Secret: secret})
		f.store.fail(-1)
		require.Equal(t, after >= 2, err == nil)
		require.Equal(t, err == nil, good(f, secret))
		if err != nil {
			_, err = f.generate(admin(), &pb.GenerateRequest{Id: "1", Name: "joe", Secret: secret})
			require.NoError(t, err)
			require.False(t, good(f, secret), "a name that was left over is nobody's")
			_, err = f.generate(admin(), &pb.GenerateRequest{Id: "2", Name: "jane", Secret: secret})
			require.NoError(t, err, "and free")
			require.True(t, good(f, secret))
		}
	}
	f := setup(t)
	f.add(t, "jane")
	f.store.fail(0)
	_, err := f.logInAs("jane", secret)
	require.ErrorIs(t, err, errFault)
	f.store.fail(-1)
	issued, err := f.logInAs("jane", secret)
	require.NoError(t, err)
	f.store.fail(0)
	_, err = f.refreshWith(issued.RefreshToken)
	require.ErrorIs(t, err, errFault)
	f.store.fail(-1)
	_, err = f.refreshWith(issued.RefreshToken)
	require.NoError(t, err, "it was not spent")
}

// Accounts that Micro's own handlers have made are known: but for those of services, which logged in for a year.
func TestAccountsOfMicro(t *testing.T) {
	t.Parallel()
	f := setup(t)
	hash, err := f.secrets.hash(secret)
	require.NoError(t, err)
	for id, kind := range map[string]string{"1": "user", "2": "service"} {
		text := fmt.Sprintf(`{"id":%q,"type":%q,"issuer":"micro","metadata":{},"scopes":["admin","service"],"secret":%q,"name":"name%s"}`, id, kind, hash, id)
		require.NoError(t, f.store.Write(&store.Record{Key: "account/micro/" + id, Value: []byte(text)}))
		require.NoError(t, f.store.Write(&store.Record{Key: "accountByName/micro/name" + id, Value: []byte(text)}))
	}
	before := maps.Clone(f.store.content(t))
	for _, login := range []string{"1", "name1"} {
		_, err := f.logInAs(login, secret)
		require.NoError(t, err)
	}
	for _, login := range []string{"2", "name2"} {
		_, err := f.logInAs(login, secret)
		requireKind(t, errors.KindForbidden, err)
	}
	require.Len(t, f.store.content(t), len(before)+2)
}
