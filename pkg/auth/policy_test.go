package auth_test

import (
	"slices"
	"testing"

	microauth "github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/internal/testproto"
)

// policies are those of all methods of the test's services that have one.
func policies(t *testing.T) map[string]auth.Policy {
	t.Helper()
	found := make(map[string]auth.Policy)
	services := pb.File_pkg_internal_testproto_testproto_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			if p, err := auth.PolicyOf(methods.Get(j)); err == nil {
				found[string(methods.Get(j).Name())] = p
			}
		}
	}
	return found
}

func method(t *testing.T, service, name string) protoreflect.MethodDescriptor {
	t.Helper()
	s := pb.File_pkg_internal_testproto_testproto_proto.Services().ByName(protoreflect.Name(service))
	require.NotNil(t, s)
	m := s.Methods().ByName(protoreflect.Name(name))
	require.NotNil(t, m)
	return m
}

func TestPolicyOf(t *testing.T) {
	t.Parallel()
	p := policies(t)
	require.Equal(t, auth.ForPublic, p["Echo"].Access)
	require.Equal(t, auth.ForAdmin, p["Manage"].Access)
	require.Equal(t, []string{"trusted", "gateway"}, p["Manage"].Services)
	require.Equal(t, auth.ForGateway, p["Sell"].Access)
	require.Equal(t, auth.ForCustomer, p["Own"].Access)
	require.Equal(t, "owner.id", p["Own"].IDField())
	require.Equal(t, []string{"email", "owner.numbers"}, p["Own"].AdminFields())
	require.Equal(t, []string{"trusted"}, p["Own"].Services)
}

func TestPoliciesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Nobody":       "expected one of public, customer, admin and gateway",
		"NoPath":       "customer.id: expected the path of a field",
		"NoField":      "customer.id: there is no such field: shape.nothing",
		"NoText":       "customer.id: expected the path of a string in no list and no oneof: shape.small",
		"InList":       "customer.id: there is no such field: shape.shapes.text",
		"InOneof":      "customer.id: expected the path of a string in no list and no oneof: shape.first",
		"NoAdminField": "customer.admin_fields: there is no such field: email",
		"NoService":    "services: expected names of services",
	} {
		p, err := auth.PolicyOf(method(t, "Wrong", name))
		require.EqualError(t, err, "option (access.policy) of servicetest.Wrong."+name+": "+want)
		require.Error(t, p.Authorize(auth.Caller{Kind: auth.Admin, ID: "admin"}), "a policy that cannot be lets nobody call")
	}
	_, err := auth.PolicyOf(method(t, "Careless", "Forgotten"))
	require.EqualError(t, err, "option (access.policy) of servicetest.Careless.Forgotten: missing: say who may call it")
}

// accounts are drawn so that the parts of an account that mean something come together in every way.
func accounts(r *rapid.T) *microauth.Account {
	if rapid.Bool().Draw(r, "anonymous") {
		return nil
	}
	return &microauth.Account{
		ID:       rapid.SampledFrom([]string{"", "jane", "joe", "admin", "trusted"}).Draw(r, "id"),
		Name:     rapid.SampledFrom([]string{"", "admin", "trusted"}).Draw(r, "name"),
		Issuer:   rapid.SampledFrom([]string{"", "micro", "elsewhere"}).Draw(r, "issuer"),
		Type:     rapid.SampledFrom([]string{"", "user", "service", "customer", "admin"}).Draw(r, "type"),
		Scopes:   rapid.SliceOf(rapid.SampledFrom([]string{"admin", "service", "customer", "*"})).Draw(r, "scopes"),
		Metadata: rapid.MapOf(rapid.SampledFrom([]string{"service", "admin", "gateway"}), rapid.SampledFrom([]string{"", "trusted", "gateway", "platform/api", "other"})).Draw(r, "metadata"),
	}
}

// Nobody gets more than the policy says, whatever an account and a request look like: said here once more, in other words.
func TestNobodyGetsMore(t *testing.T) {
	t.Parallel()
	declared := policies(t)
	rapid.Check(t, func(r *rapid.T) {
		a := accounts(r)
		name := rapid.SampledFrom([]string{"Echo", "Own", "Feed", "Manage", "Sell"}).Draw(r, "method")
		request := &pb.OwnRequest{Email: rapid.SampledFrom([]string{"", "jane@example.com"}).Draw(r, "email")}
		if rapid.Bool().Draw(r, "owner given") {
			request.Owner = &pb.Owner{Id: rapid.SampledFrom([]string{"", "jane", "joe"}).Draw(r, "owner")}
		}

		ours := a != nil && a.ID != "" && a.Issuer == "micro"
		admin := ours && a.Type == "user" && slices.Contains(a.Scopes, "admin")
		customer := ours && a.Type == "customer"
		service := func(name string) bool {
			return ours && a.Type == "service" && slices.Contains(a.Scopes, "service") && a.Metadata["service"] == name
		}
		gateway := ours && a.Type == "service" && a.Metadata["gateway"] != "" && a.Metadata["service"] == ""
		may := map[string]bool{
			"Echo": true, "Own": admin || customer || service("trusted"), "Feed": admin || customer,
			"Manage": admin || service("trusted") || service("platform/api"), "Sell": gateway,
		}[name]

		p, caller := declared[name], auth.CallerOf(a)
		err := p.Authorize(caller)
		if (err == nil) != may {
			r.Fatalf("%s by %+v: %v", name, a, err)
		}
		if err != nil {
			want := errors.KindForbidden
			if a == nil {
				want = errors.KindUnauthenticated
			}
			if errors.KindOf(err) != want {
				r.Fatalf("%s by %+v: %v", name, a, err)
			}
			return
		}
		if name != "Own" {
			return
		}
		asked := proto.Clone(request).(*pb.OwnRequest)
		err = p.Own(caller, request)
		switch own := asked.GetOwner().GetId() == "" || asked.GetOwner().GetId() == a.ID; {
		case !customer && (err != nil || !proto.Equal(asked, request)):
			r.Fatalf("%+v may ask for anything: %v", a, err)
		case customer && (own && asked.Email == "") != (err == nil):
			r.Fatalf("%+v asks for %v: %v", a, asked, err)
		case customer && err == nil && request.GetOwner().GetId() != a.ID:
			r.Fatalf("%+v gets %v", a, request)
		}
	})
}

// Own holds by itself: whoever calls it without Authorize lets nobody through either.
func TestOwnLetsNobodyThroughByItself(t *testing.T) {
	t.Parallel()
	p := policies(t)["Own"]
	for _, c := range []auth.Caller{{}, {Kind: auth.Other, ID: "jane"}, {Kind: auth.Customer}, {Kind: auth.Service, ID: "jane", Service: "other"}} {
		for _, request := range []*pb.OwnRequest{{}, {Owner: &pb.Owner{Id: c.ID}}, {Email: "x"}} {
			require.Equal(t, errors.KindForbidden, errors.KindOf(p.Own(c, request)), "%+v", c)
		}
	}
}

// Whatever a policy refuses is told from what an RPC has found out itself.
func TestIsAboutCaller(t *testing.T) {
	t.Parallel()
	for name, p := range policies(t) {
		for _, c := range []auth.Caller{{}, {Kind: auth.Other, ID: "x"}} {
			if err := p.Authorize(c); err != nil {
				require.True(t, auth.IsAboutCaller(err.Error()), "%s: %v", name, err)
			}
		}
	}
	for _, authorization := range [][]string{{"Basic x"}, {"Bearer x"}} {
		_, err := auth.Authenticate(func(string) (*microauth.Account, error) { return nil, microauth.ErrInvalidToken }, authorization)
		require.True(t, auth.IsAboutCaller(err.Error()), "%v", err)
	}
	for _, detail := range []string{"", "the key is not good", "only subscribers may call this", "id: must be your own, or empty"} {
		require.False(t, auth.IsAboutCaller(detail), detail)
	}
}

func TestCallerFrom(t *testing.T) {
	t.Parallel()
	require.Equal(t, auth.Caller{}, auth.CallerFrom(t.Context()))
	jane := auth.Caller{Kind: auth.Customer, ID: "jane"}
	require.Equal(t, jane, auth.CallerFrom(auth.WithCaller(t.Context(), jane)))
}

func TestGatewayIsSoInOneServiceOnly(t *testing.T) {
	t.Parallel()
	caller := auth.CallerOf(token.GatewayAccount("weather"))
	require.Equal(t, auth.Caller{Kind: auth.Gateway, ID: "gateway/weather", Service: "weather"}, caller)
	require.Equal(t, caller, caller.In("weather"))
	require.Equal(t, auth.Caller{Kind: auth.Other, ID: "gateway/weather"}, caller.In("maps"))
	jane := auth.Caller{Kind: auth.Customer, ID: "jane"}
	require.Equal(t, jane, jane.In("maps"))
}

func TestServiceAccount(t *testing.T) {
	t.Parallel()
	caller := auth.CallerOf(token.ServiceAccount("customers-v1-beta", "customers"))
	require.Equal(t, auth.Caller{Kind: auth.Service, ID: "customers-v1-beta", Service: "customers"}, caller)
}
