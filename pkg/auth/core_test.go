package auth_test

import (
	"testing"

	_ "github.com/micro/micro/v3/proto/auth"
	_ "github.com/micro/micro/v3/proto/broker"
	_ "github.com/micro/micro/v3/proto/config"
	_ "github.com/micro/micro/v3/proto/debug"
	_ "github.com/micro/micro/v3/proto/events"
	registrypb "github.com/micro/micro/v3/proto/registry"
	_ "github.com/micro/micro/v3/proto/runtime"
	storepb "github.com/micro/micro/v3/proto/store"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	configpb "github.com/micro/micro/v3/proto/config"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/errors"
	_ "github.com/m3o/backend/pkg/events/stream/proto"
)

func coreMethod(t *testing.T, name protoreflect.FullName) protoreflect.MethodDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	require.NoError(t, err, name)
	m, ok := d.(protoreflect.MethodDescriptor)
	require.True(t, ok, name)
	return m
}

func corePolicy(t *testing.T, name protoreflect.FullName) auth.Policy {
	t.Helper()
	p, err := auth.PolicyOf(coreMethod(t, name))
	require.NoError(t, err)
	return p
}

func TestCorePoliciesFitTheirProtos(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, auth.CoreMethods())
	for _, name := range auth.CoreMethods() {
		require.NotEqual(t, auth.ForNobody, corePolicy(t, name).Access, name)
	}
}

// Where one method of a service has a policy, all have: what is registered has to start.
func TestCorePoliciesAreComplete(t *testing.T) {
	t.Parallel()
	for _, name := range auth.CoreMethods() {
		methods := coreMethod(t, name).Parent().(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			_, err := auth.PolicyOf(methods.Get(i))
			require.NoError(t, err)
		}
	}
}

func TestCoreAuthorize(t *testing.T) {
	t.Parallel()
	callers := map[string]auth.Caller{
		"anonymous": {}, "customer": {Kind: auth.Customer, ID: "jane"}, "admin": {Kind: auth.Admin, ID: "admin"},
		"service": {Kind: auth.Service, Service: "usage"}, "signup": {Kind: auth.Service, Service: "signup"},
		"sold": {Kind: auth.Sold, Service: "weather"}, "other": {Kind: auth.Other, ID: "x"},
		"gateway": {Kind: auth.Gateway, ID: "gateway/weather", Service: "weather"},
	}
	for name, may := range map[protoreflect.FullName][]string{
		"auth.Auth.Token":            {"anonymous", "customer", "admin", "service", "signup", "sold", "other", "gateway"},
		"auth.Auth.Generate":         {"admin", "signup"},
		"auth.Accounts.ChangeSecret": {"customer", "admin", "service", "signup", "sold", "other", "gateway"},
		"registry.Registry.Register": {"admin", "service", "signup", "sold"},
		"config.Config.Get":          {"admin", "service", "signup"},
		"config.Config.Set":          {"admin"},
		"store.Store.Read":           {"admin", "service", "signup"},
		"runtime.Source.Upload":      {"admin"},
		"runtime.Build.Read":         {"admin", "service", "signup", "sold"},
		"events.Stream.Publish":      {"admin", "service", "signup"},
		"debug.Debug.Log":            {"admin"},
	} {
		p := corePolicy(t, name)
		for who, caller := range callers {
			err := p.Authorize(caller)
			switch contains(may, who) {
			case true:
				require.NoError(t, err, "%s by %s", name, who)
			default:
				want := errors.KindForbidden
				if who == "anonymous" {
					want = errors.KindUnauthenticated
				}
				require.Equal(t, want, errors.KindOf(err), "%s by %s", name, who)
			}
		}
	}
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func TestServicesAreHeldToWhatIsTheirs(t *testing.T) {
	t.Parallel()
	usage := auth.Caller{Kind: auth.Service, Service: "usage"}
	registry := auth.Caller{Kind: auth.Service, Service: auth.Part("registry")}
	admin := auth.Caller{Kind: auth.Admin, ID: "admin"}
	sold := auth.Caller{Kind: auth.Sold, Service: "weather"}
	table := func(name string) proto.Message {
		return protoadapt.MessageV2Of(&storepb.ReadRequest{Options: &storepb.ReadOptions{Table: name}})
	}
	register := func(name, domain string) proto.Message {
		return protoadapt.MessageV2Of(&registrypb.Service{Name: name, Options: &registrypb.Options{Domain: domain}})
	}
	path := func(path string) proto.Message { return protoadapt.MessageV2Of(&configpb.GetRequest{Path: path}) }
	for _, c := range []struct {
		method  protoreflect.FullName
		caller  auth.Caller
		request proto.Message
		refused string
	}{
		{"store.Store.Read", usage, table("usage"), ""},
		{"store.Store.Read", usage, table("customers"), "options.table: must be the name of the service itself"},
		{"store.Store.Read", admin, table("customers"), ""},
		{"registry.Registry.Register", usage, register("usage", ""), ""},
		{"registry.Registry.Register", usage, register("customers", "micro"), "name: must be the name of the service itself"},
		{"registry.Registry.Register", usage, register("usage", "other"), "options.domain: must be micro"},
		{"registry.Registry.Register", sold, register("customers", ""), "name: must be the name of the service itself"},
		{"registry.Registry.Register", sold, register("weather", ""), ""},
		{"registry.Registry.Register", registry, register("registry", "micro"), ""},
		{"config.Config.Get", usage, path("usage.db.address"), ""},
		{"config.Config.Get", usage, path("micro.usage"), ""},
		{"config.Config.Get", usage, path("micro.usage.quotas"), ""},
		{"config.Config.Get", usage, path("micro.billing.stripe"), "path: must be the service's own configuration"},
		{"config.Config.Get", usage, path("micro"), "path: must be the service's own configuration"},
		{"config.Config.Get", usage, path("micro.usages"), "path: must be the service's own configuration"},
		{"config.Config.Get", admin, path("micro"), ""},
	} {
		err := corePolicy(t, c.method).Own(c.caller, c.request)
		if c.refused == "" {
			require.NoError(t, err, "%s by %v", c.method, c.caller)
			continue
		}
		require.EqualError(t, err, c.refused)
		require.Equal(t, errors.KindForbidden, errors.KindOf(err))
	}
}

func TestWhatAServiceLeavesOutIsFilledIn(t *testing.T) {
	t.Parallel()
	usage := auth.Caller{Kind: auth.Service, Service: "usage"}
	read := new(storepb.ReadRequest)
	require.NoError(t, corePolicy(t, "store.Store.Read").Own(usage, protoadapt.MessageV2Of(read)))
	require.Equal(t, "usage", read.GetOptions().GetTable())
	get := new(configpb.GetRequest)
	require.NoError(t, corePolicy(t, "config.Config.Get").Own(usage, protoadapt.MessageV2Of(get)))
	require.Equal(t, "micro.usage", get.GetPath(), "not everybody's configuration")
}
