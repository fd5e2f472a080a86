package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/micro/micro/v3/proto/auth" // the descriptors of Micro's own RPCs
	_ "github.com/micro/micro/v3/proto/broker"
	_ "github.com/micro/micro/v3/proto/config"
	_ "github.com/micro/micro/v3/proto/debug"
	_ "github.com/micro/micro/v3/proto/events"
	_ "github.com/micro/micro/v3/proto/registry"
	_ "github.com/micro/micro/v3/proto/runtime"
	_ "github.com/micro/micro/v3/proto/store"
	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/m3o/backend/pkg/acceptance/client"
	access "github.com/m3o/backend/pkg/auth"
	_ "github.com/m3o/backend/pkg/auth/sessions"
	_ "github.com/m3o/backend/pkg/events/stream/proto"
	"github.com/m3o/backend/pkg/platform/state"
)

// validCore is a request of every RPC of the platform itself that changes nothing that others need. A %s is something new
// for each call. An RPC that is missing here fails the test.
var validCore = map[string]string{
	"auth.Auth.Token":            `{"id": "admin", "secret": "nobody's password"}`,
	"auth.Auth.Inspect":          `{"token": "%s"}`,
	"auth.Auth.Generate":         `{"id": "%s", "type": "customer", "secret": "correct horse"}`,
	"auth.Accounts.ChangeSecret": `{"id": "%s", "old_secret": "correct horse", "new_secret": "battery staple"}`,
	"auth.Accounts.Delete":       `{"id": "%s"}`,
	"auth.Accounts.List":         `{}`,
	"auth.Rules.List":            `{}`,
	"auth.Rules.Create": `{"rule": {"id": "%s", "scope": "nobody", "access": "GRANTED",
		"resource": {"type": "x", "name": "x", "endpoint": "x"}}}`,
	"auth.Rules.Delete": `{"id": "%s"}`,

	"sessions.Sessions.List":    `{"account": "%s"}`,
	"sessions.Sessions.Revoke":  `{"account": "%s", "session": "%s"}`,
	"sessions.Sessions.Block":   `{"account": "%s"}`,
	"sessions.Sessions.Unblock": `{"account": "%s"}`,

	"registry.Registry.GetService":   `{"service": "%s"}`,
	"registry.Registry.ListServices": `{}`,
	"registry.Registry.Watch":        `{}`,
	"registry.Registry.Register":     `{"version": "%s", "nodes": [{"id": "%s", "address": "127.0.0.1:1"}], "options": {"ttl": 1}}`,
	"registry.Registry.Deregister":   `{"version": "%s", "nodes": [{"id": "%s", "address": "127.0.0.1:1"}]}`,

	"store.Store.Read":      `{"key": "%s"}`,
	"store.Store.Write":     `{"record": {"key": "%s", "value": "eA=="}}`,
	"store.Store.Delete":    `{"key": "%s"}`,
	"store.Store.List":      `{}`,
	"store.Store.Databases": `{}`,
	"store.Store.Tables":    `{"database": "micro"}`,

	"store.BlobStore.Read":   `{"key": "%s"}`,
	"store.BlobStore.Write":  `{"key": "%s", "blob": "eA==", "options": {}}`,
	"store.BlobStore.Delete": `{"key": "%s"}`,
	"store.BlobStore.List":   `{}`,

	"config.Config.Get":    `{}`,
	"config.Config.Read":   `{"path": "%s"}`,
	"config.Config.Set":    `{"path": "table", "value": {"data": "1"}}`,
	"config.Config.Delete": `{"path": "table"}`,

	"events.Stream.Publish": `{"topic": "%s", "payload": "e30="}`,
	"events.Stream.Consume": `{"topic": "%s", "group": "table", "auto_ack": true}`,
	"events.Store.Read":     `{"topic": "%s", "limit": 1}`,
	"events.Store.Write":    `{"event": {"id": "%s", "topic": "table", "payload": "e30="}}`,

	"eventstream.Batch.Publish":     `{"events": [{"topic": "table", "payload": "e30="}]}`,
	"eventstream.Batch.PublishEach": `{"events": [{"topic": "table", "payload": "e30="}]}`,
	"eventstream.Batch.Subscribe":   `{"open": {"topic": "table"}}`,
	"eventstream.Batch.Read":        `{"topic": "table", "limit": 1}`,

	"broker.Broker.Publish":   `{"topic": "%s", "message": {"body": "e30="}}`,
	"broker.Broker.Subscribe": `{"topic": "%s"}`,

	"runtime.Runtime.Create": `{"resource": {"service": {"name": "NO-NAME", "version": "%s"}}}`,
	"runtime.Runtime.Read":   `{"options": {"service": "%s"}}`,
	"runtime.Runtime.Update": `{"resource": {"service": {"name": "%s"}}}`,
	"runtime.Runtime.Delete": `{"resource": {"service": {"name": "%s"}}}`,
	"runtime.Runtime.Logs":   `{"service": "%s"}`,
	"runtime.Source.Upload":  `{}`,

	"debug.Debug.Health": `{}`,
	"debug.Debug.Log":    `{}`,
	"debug.Debug.Stats":  `{}`,
	"debug.Debug.Trace":  `{}`,
}

// foreign are requests about what is another's, which a service is refused.
var foreign = map[string]string{
	"registry.Registry.Register":   `{"name": "customers", "version": "latest", "nodes": [{"id": "x", "address": "127.0.0.1:1"}]}`,
	"registry.Registry.Deregister": `{"name": "customers", "version": "latest", "nodes": [{"id": "x", "address": "127.0.0.1:1"}]}`,
	"store.Store.Read":             `{"key": "x", "options": {"table": "customers"}}`,
	"store.Store.Write":            `{"record": {"key": "x"}, "options": {"table": "customers"}}`,
	"store.Store.Delete":           `{"key": "x", "options": {"table": "customers"}}`,
	"store.Store.List":             `{"options": {"table": "customers"}}`,
	"store.BlobStore.Read":         `{"key": "x", "options": {"namespace": "customers"}}`,
	"store.BlobStore.Write":        `{"key": "x", "options": {"namespace": "customers"}}`,
	"store.BlobStore.Delete":       `{"key": "x", "options": {"namespace": "customers"}}`,
	"store.BlobStore.List":         `{"options": {"namespace": "customers"}}`,
	"config.Config.Get":            `{"path": "micro.billing"}`,
}

// coreMethods are the RPCs of the platform's own services, and the name of the service that each is called on.
func coreMethods(t *testing.T) map[protoreflect.MethodDescriptor]string {
	t.Helper()
	found := make(map[protoreflect.MethodDescriptor]string)
	names := access.CoreMethods()
	protoregistry.GlobalFiles.RangeFilesByPackage("sessions", func(f protoreflect.FileDescriptor) bool {
		methods := f.Services().ByName("Sessions").Methods()
		for i := range methods.Len() {
			names = append(names, methods.Get(i).FullName())
		}
		return true
	})
	for _, name := range names {
		if name == "runtime.Build.Read" {
			continue // it is served on Kubernetes only, and called in the tests of that
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		require.NoError(t, err)
		m := d.(protoreflect.MethodDescriptor)
		switch found[m] = string(m.ParentFile().Package()); found[m] {
		case "sessions":
			found[m] = "auth"
		case "eventstream":
			found[m] = "events"
		case "debug":
			found[m] = "config" // it is on every service
		}
	}
	return found
}

// expectedCore is the policy said anew: 0 stands for whatever an answer is to somebody who may.
func expectedCore(policy access.Policy, caller string) int {
	isNamed := caller == "named service" && slices.Contains(policy.Services, namedService)
	isService := caller == "named service" || caller == "other service"
	isSold := caller == "sold service"
	may := caller == "admin" || isNamed
	switch policy.Access {
	case access.ForPublic:
		may = true
	case access.ForService:
		may = may || isService || isSold && policy.Sold
	case access.ForAccount:
		may = caller != "anonymous"
	}
	switch {
	case may:
		return 0
	case caller == "anonymous":
		return http.StatusUnauthorized
	default:
		return http.StatusForbidden
	}
}

// Every RPC of the platform's own services by every caller with every token, with a good request, an empty one, one of
// wrong types, one of a megabyte and one about what is another's: refused exactly as the policy says, and never 500.
func TestCoreAccess(t *testing.T) {
	t.Parallel()
	p := boot(t, "customers")
	known := pair{jane: p.customer(t, "jane.known@example.com"), joe: p.customer(t, "joe.known@example.com")}
	accounts := callers(known)
	tokens := make(map[string]map[string]string)
	for name, account := range accounts {
		tokens[name] = p.tokens(t, account)
	}
	count, serial := 0, 0
	fill := func(body string) string {
		for strings.Contains(body, "%s") {
			serial++
			body = strings.Replace(body, "%s", fmt.Sprintf("table-%d", serial), 1)
		}
		return body
	}
	all := coreMethods(t)
	// Micro's proxy loses the answer to a stream that is refused before its end: those are sent to the service itself.
	rpc := map[bool]map[string]*client.RPC{false: {}, true: {}}
	for _, service := range all {
		rpc[false][service] = p.RPC("")
		rpc[true][service] = (&client.Client{Proxy: state.Addresses{Port: p.port}.Of(service)}).RPC("")
	}
	for m, service := range all {
		policy, err := access.PolicyOf(m)
		require.NoError(t, err)
		good, ok := validCore[string(m.FullName())]
		require.True(t, ok, "%s has no valid request in this test's table", m.FullName())
		bodies := map[string]string{"good": good, "empty": "", "wrong types": wrongTypes(t, m), "1 MB": megabyte(t, m)}
		if body, ok := foreign[string(m.FullName())]; ok {
			bodies["foreign"] = body
		}
		for caller, columns := range tokens {
			for kind, token := range columns {
				for about, body := range bodies {
					isGood := kind == "good" || kind == "none"
					if !isGood && about != "good" {
						continue // a bad token is refused before anything is read: once is enough
					}
					what := fmt.Sprintf("%s, %s, by %s, token %s", m.FullName(), about, caller, kind)
					want := expectedCore(policy, caller)
					if !isGood {
						want = http.StatusUnauthorized
					}
					if want == 0 && about == "foreign" && caller != "admin" {
						want = http.StatusForbidden
					}
					code, answer := callCore(t, rpc[m.IsStreamingClient()][service].As(token), service, m, fill(body))
					count++
					require.NotContains(t, answer, marker, "%s: what was sent is echoed", what)
					if want != 0 {
						require.Equal(t, want, code, "%s: %s", what, answer)
						continue
					}
					if about == "wrong types" {
						require.Equal(t, http.StatusBadRequest, code, "%s: %s", what, answer)
						continue
					}
					// Micro says of one RPC that it does not do what its name says.
					require.True(t, code < 500 || code == http.StatusNotImplemented, "%s: %d %s", what, code, answer)
					if about == "1 MB" && len(policy.Bounds()) > 0 {
						continue // where it stands in a field that is bound, it is another's
					}
					if m.FullName() != "auth.Auth.Token" && policy.Access != access.ForAccount {
						require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, code, "%s: %s", what, answer)
					}
				}
			}
		}
		if policy.Access.Outside() {
			continue
		}
		for _, caller := range []string{"anonymous", "admin"} {
			c := p.As(tokens[caller]["good"])
			a, err := c.Post(t.Context(), fmt.Sprintf("/%s/%s/%s", service, m.Parent().Name(), m.Name()), fill(good))
			require.NoError(t, err)
			require.Equal(t, http.StatusNotFound, a.Code, "%s over HTTP by %s", m.FullName(), caller)
			count++
		}
	}
	t.Logf("%d calls: %d RPCs of the platform, %d callers with up to %d tokens", count, len(all), len(accounts), len(tokens["admin"]))
}

// wrongTypes is a request whose every field has what no field takes; not an object where there is no field.
func wrongTypes(t *testing.T, m protoreflect.MethodDescriptor) string {
	t.Helper()
	if m.Input().Fields().Len() == 0 {
		return `["` + marker + `"]`
	}
	fields := make(map[string]any)
	for _, f := range fieldsOf(m) {
		fields[string(f.Name())] = []any{map[string]any{"nosuchfield": []any{marker}}, 5}
	}
	b, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(b)
}

// megabyte is a request with a megabyte in a text or bytes; with an unknown field where there is none.
func megabyte(t *testing.T, m protoreflect.MethodDescriptor) string {
	t.Helper()
	large := map[string]any{"nosuchfield": strings.Repeat("x", 1<<20)}
	for _, f := range fieldsOf(m) {
		if f.Kind() == protoreflect.StringKind && !f.IsList() {
			large = map[string]any{string(f.Name()): strings.Repeat("x", 1<<20)}
		}
	}
	b, err := json.Marshal(large)
	require.NoError(t, err)
	return string(b)
}

// listen is how long the first message of a stream is waited for: that it has been opened is all that counts.
const listen = 250 * time.Millisecond

// callCore calls an RPC of the platform with JSON. A stream that is open and says nothing is as good as an answer.
func callCore(t *testing.T, rpc *client.RPC, service string, m protoreflect.MethodDescriptor, body string) (int, string) {
	t.Helper()
	endpoint := fmt.Sprintf("%s.%s", m.Parent().Name(), m.Name())
	if !m.IsStreamingServer() && !m.IsStreamingClient() {
		answer, err := rpc.JSON(t.Context(), service, endpoint, body)
		return codeOf(err), answer + fmt.Sprint(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), listen)
	defer cancel()
	answer, err := rpc.Exchange(ctx, service, endpoint, body)
	if ctx.Err() != nil {
		return http.StatusOK, answer
	}
	return codeOf(err), answer + fmt.Sprint(err)
}

func codeOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if s, ok := status.FromError(err); ok { // of a stream
		return int(errors.Parse(s.Message()).Code)
	}
	return int(errors.FromError(err).Code)
}
