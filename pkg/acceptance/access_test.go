package acceptance

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/auth/token"
	"github.com/micro/micro/v3/util/auth/token/jwt"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/acceptance/client"
	access "github.com/m3o/backend/pkg/auth"
)

// Two customers, of whom one calls about themself and the other about the first.
type pair struct{ jane, joe string }

// namedService is the service in the table's row of that name: the one that a policy names, if it names one.
const namedService = "signup"

// callers are the accounts of the table's rows; jane is whom every request is about.
func callers(p pair) map[string]*auth.Account {
	service := func(name string) *auth.Account {
		o := auth.NewGenerateOptions(access.ServiceAccount(name)...)
		return &auth.Account{ID: name + "-latest", Issuer: o.Issuer, Type: o.Type, Scopes: o.Scopes, Metadata: o.Metadata}
	}
	return map[string]*auth.Account{
		"anonymous":      nil,
		"customer":       client.Customer(p.jane),
		"other customer": client.Customer(p.joe),
		"admin":          client.Admin,
		"named service":  service(namedService),
		"other service":  service("mixpanel"),
		"unnamed":        {ID: namedService + "-latest", Name: namedService, Issuer: "micro", Type: "service", Scopes: []string{"service"}},
		"sold service":   {ID: namedService + "-latest", Issuer: "micro", Type: "service", Metadata: map[string]string{"service": namedService}},
		"plain user":     {ID: p.jane, Issuer: "micro", Type: "user"},
	}
}

// tokens makes the table's columns of one account.
func (p *platform) tokens(t *testing.T, account *auth.Account) map[string]string {
	t.Helper()
	if account == nil {
		return map[string]string{"none": ""}
	}
	good, err := p.Issue(account, time.Hour)
	require.NoError(t, err)
	expired, err := p.Issue(account, -time.Minute)
	require.NoError(t, err)
	forged, err := jwt.NewTokenProvider(token.WithPrivateKey(anotherKey())).Generate(account, token.WithExpiry(time.Hour))
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	symmetric := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	other := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin","iss":"micro","type":"user","scopes":["admin"],"exp":9999999999}`))
	return map[string]string{
		"good": good, "expired": expired, "forged": forged.Token,
		"alg none": header + "." + parts[1] + ".", "alg none, signed": header + "." + parts[1] + "." + parts[2],
		"other alg": symmetric + "." + parts[1] + "." + parts[2], "other claims": parts[0] + "." + other + "." + parts[2],
		"cut": good[:len(good)-10], "garbage": marker,
	}
}

// anotherKey is a private key that is not the platform's.
var anotherKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// expected is the code of a call with a good token, or without one: the policy said anew.
func expected(policy access.Policy, caller, about string) int {
	named := caller == "admin" || caller == "named service" && slices.Contains(policy.Services, namedService)
	switch policy.Access {
	case access.ForPublic:
		return http.StatusOK
	case access.ForCustomer:
		switch {
		case named && about == "nobody":
			return http.StatusBadRequest // nobody is filled in for them, and the handler misses it
		case named && about != "own":
			return http.StatusNotFound // nobody has what the field is given
		case named:
			return http.StatusOK
		case caller == "customer" && (about == "own" || about == "nobody"), caller == "other customer" && about == "nobody":
			return http.StatusOK
		}
	case access.ForAdmin:
		if named {
			return http.StatusOK
		}
	}
	if caller == "anonymous" {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// requests are the bodies that one RPC is called with: about jane, about nobody in particular, and with whatever a
// customer may not give.
func requests(t *testing.T, m protoreflect.MethodDescriptor, policy access.Policy, p pair) map[string]string {
	t.Helper()
	name := string(m.FullName())
	request, ok := valid[name]
	require.True(t, ok, "%s has no valid request in the table of bad input", name)
	body := func(request map[string]any) string {
		b, err := json.Marshal(request)
		require.NoError(t, err)
		return string(b)
	}
	if policy.Access != access.ForCustomer {
		return map[string]string{"any": body(request)}
	}
	id := strings.Split(policy.IDField(), ".")
	request = maps.Clone(request)
	for _, field := range policy.AdminFields() {
		require.NotContains(t, field, ".", "this test knows no inner fields")
		delete(request, field)
	}
	bodies := map[string]string{"own": body(with(request, id, p.jane)), "nobody": body(with(request, id, ""))}
	for _, field := range policy.AdminFields() {
		bodies[field] = body(with(request, []string{field}, marker+"@example.com"))
	}
	return bodies
}

// Every RPC by every caller with every token: exactly the code that the policy says, by RPC and, where the RPC is reachable
// from outside, over HTTP, where the others do not exist; and nobody sees anything of somebody else.
func TestAccess(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	known := pair{jane: p.customer(t, "jane.known@example.com"), joe: p.customer(t, "joe.known@example.com")}
	_, err := p.Post(t.Context(), "/signup/Track", `{"id": "known"}`)
	require.NoError(t, err)

	accounts := callers(known)
	tokens := make(map[string]map[string]string)
	for name, account := range accounts {
		tokens[name] = p.tokens(t, account)
	}
	count, rpcs, rpc := 0, methods(), p.RPC("")
	// What deletes comes last, so that there is somebody whom the others can be about.
	slices.SortFunc(rpcs, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(last(a), last(b))
	})
	for _, m := range rpcs {
		policy, err := access.PolicyOf(m)
		require.NoError(t, err)
		for about, body := range requests(t, m, policy, known) {
			for caller, columns := range tokens {
				for kind, token := range columns {
					what := fmt.Sprintf("%s about %s by %s, token %s", m.FullName(), about, caller, kind)
					want := expected(policy, caller, about)
					if kind != "good" && kind != "none" {
						want = http.StatusUnauthorized
					}
					code, answer := callRPC(t, rpc.As(token), m, body)
					checkAccess(t, what, want, code, answer)
					checkOthersData(t, what, caller, answer, known)
					if !isOutside(t, m) {
						want = http.StatusNotFound
					}
					a, err := p.As(token).Post(t.Context(), pathOf(m), body)
					require.NoError(t, err)
					checkAccess(t, what+", over HTTP", want, a.Code, string(a.Body))
					checkOthersData(t, what+", over HTTP", caller, string(a.Body), known)
					count += 2
				}
			}
		}
	}
	require.Greater(t, count, 0)
	t.Logf("%d calls: %d RPCs, %d callers with up to %d tokens, by RPC and over HTTP", count, len(rpcs), len(accounts), len(tokens["admin"]))
}

func last(m protoreflect.MethodDescriptor) string {
	if m.Name() == "Delete" {
		return "~" + string(m.FullName())
	}
	return string(m.FullName())
}

func pathOf(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s/%s", m.ParentFile().Package(), m.Parent().Name(), m.Name())
}

func callRPC(t *testing.T, rpc *client.RPC, m protoreflect.MethodDescriptor, body string) (code int, answer string) {
	t.Helper()
	endpoint := fmt.Sprintf("%s.%s", m.Parent().Name(), m.Name())
	answer, err := rpc.JSON(t.Context(), string(m.ParentFile().Package()), endpoint, body)
	if err != nil {
		return int(errors.FromError(err).Code), err.Error()
	}
	return http.StatusOK, answer
}

func checkAccess(t *testing.T, what string, want, got int, answer string) {
	t.Helper()
	require.Equal(t, want, got, "%s: %s", what, answer)
	require.NotContains(t, answer, marker, "%s: what was sent is echoed", what)
}

// checkOthersData looks for what belongs to the two customers in an answer.
func checkOthersData(t *testing.T, what, caller, answer string, known pair) {
	t.Helper()
	for owner, secrets := range map[string][]string{
		"customer": {"jane.known", known.jane}, "other customer": {"joe.known", known.joe},
	} {
		for _, secret := range secrets {
			if caller != owner && caller != "admin" && caller != "named service" {
				require.NotContains(t, answer, secret, "%s: somebody else's data", what)
			}
		}
	}
}
