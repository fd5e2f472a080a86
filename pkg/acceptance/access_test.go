package acceptance

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/acceptance/client"
	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
)

// Two customers, of whom one calls about themself and the other about the first.
type pair struct {
	jane, joe string
	// fill puts into a request what was made for this test.
	fill *strings.Replacer
}

// namedService is the service in the table's row of that name: the one that a policy names, if it names one.
const namedService = "signup"

// callers are the accounts of the table's rows; jane is whom every request is about.
func callers(p pair) map[string]*auth.Account {
	service := func(name string) *auth.Account { return token.ServiceAccount(name+"-latest", name) }
	return map[string]*auth.Account{
		"anonymous":      nil,
		"customer":       client.Customer(p.jane),
		"other customer": client.Customer(p.joe),
		"admin":          client.Admin,
		"named service":  service(namedService),
		"other service":  service("mixpanel"),
		"unnamed":        {ID: namedService + "-latest", Name: namedService, Issuer: "micro", Type: "service", Scopes: []string{"service"}},
		"sold service":   {ID: "sold/weather/latest", Issuer: "micro", Type: "service", Metadata: map[string]string{"service": "weather", "sold": "true"}},
		"a gateway":      token.GatewayAccount("weather"),
		"plain user":     {ID: p.jane, Issuer: "micro", Type: "user"},
	}
}

// tokens makes the table's columns of one account.
func (p *platform) tokens(t *testing.T, account *auth.Account) map[string]string {
	t.Helper()
	if account == nil {
		return map[string]string{"none": ""}
	}
	good, err := p.Issue(account)
	require.NoError(t, err)
	key, id := p.signingKey(t)
	now := time.Now()
	header := func(more map[string]any) map[string]any {
		h := map[string]any{"typ": "at+jwt", "kid": id}
		maps.Copy(h, more)
		return h
	}
	claims := func(more map[string]any) jwt.MapClaims {
		c := jwt.MapClaims{
			"sub": account.ID, "iss": account.Issuer, "type": account.Type, "scopes": account.Scopes, "metadata": account.Metadata,
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
		maps.Copy(c, more)
		return c
	}
	sign := func(method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
		made := jwt.NewWithClaims(method, claims)
		maps.Copy(made.Header, header)
		text, err := made.SignedString(key)
		require.NoError(t, err)
		return text
	}
	parts := strings.Split(good, ".")
	admin := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(
		`{"sub":"admin","iss":"micro","type":"user","scopes":["admin"],"iat":%d,"exp":%d}`, now.Unix(), now.Add(time.Minute).Unix())))
	return map[string]string{
		"good":         good,
		"expired":      sign(jwt.SigningMethodRS256, key, header(nil), claims(map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(-time.Second).Unix()})),
		"too long":     sign(jwt.SigningMethodRS256, key, header(nil), claims(map[string]any{"exp": now.Add(time.Hour).Unix()})),
		"wrong key":    sign(jwt.SigningMethodRS256, anotherKey(), header(nil), claims(nil)),
		"alg none":     sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header(nil), claims(nil)),
		"alg HS256":    sign(jwt.SigningMethodHS256, p.publicKey(t), header(nil), claims(nil)),
		"other type":   sign(jwt.SigningMethodRS256, key, header(map[string]any{"typ": "JWT"}), claims(nil)),
		"other claims": parts[0] + "." + admin + "." + parts[2],
		"refresh":      p.refreshToken(t),
		"cut":          good[:len(good)-10],
		"garbage":      marker,
	}
}

// anotherKey is a private key that is not the platform's.
var anotherKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// signingKey is the key that the platform signs with, and its id.
func (p *platform) signingKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	text, id := p.key(t, "signing.json")
	key, err := jwt.ParseRSAPrivateKeyFromPEM(text)
	require.NoError(t, err)
	return key, id
}

// publicKey is the text of the key that everybody may know.
func (p *platform) publicKey(t *testing.T) []byte {
	t.Helper()
	text, _ := p.key(t, "verify.json")
	return text
}

func (p *platform) key(t *testing.T, file string) (text []byte, id string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.State, "keys", file))
	require.NoError(t, err)
	var found struct{ Keys []struct{ ID, PEM string } }
	require.NoError(t, json.Unmarshal(b, &found))
	require.NotEmpty(t, found.Keys)
	return []byte(found.Keys[0].PEM), found.Keys[0].ID
}

// refreshToken is what the admin got at a login to get the next access token with.
func (p *platform) refreshToken(t *testing.T) string {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(p.State, "admin_password"))
	require.NoError(t, err)
	a, err := p.As("").Post(t.Context(), "/auth/Token", fmt.Sprintf(`{"id": "admin", "secret": %q}`, strings.TrimSpace(string(password))))
	require.NoError(t, err)
	issued, _ := a.Fields()["token"].(map[string]any)
	refresh, _ := issued["refresh_token"].(string)
	require.NotEmpty(t, refresh, "%s", a.Body)
	return refresh
}

// namesJanes are the RPCs whose request names something of jane's, which nobody else has.
var namesJanes = []string{"customers.Keys.RevokeKey", "customers.Keys.RotateKey"}

// nobody is the id of no customer.
const nobody = "01900000-0000-7000-8000-000000000000"

// nobodys are the RPCs whose request has a token of nobody's: whoever may call is told that it is not good.
var nobodys = []string{"signup.Signup.CompleteSignup", "signup.Signup.ResetPassword"}

// expected is the code of a call with a good token, or without one: the policy said anew.
func expected(rpc string, policy access.Policy, caller, about string) int {
	named := caller == "admin" || caller == "named service" && slices.Contains(policy.Services, namedService)
	switch policy.Access {
	case access.ForPublic:
		if slices.Contains(nobodys, rpc) {
			return http.StatusBadRequest
		}
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
			if janes := slices.Contains(namesJanes, rpc); janes && caller == "other customer" {
				return http.StatusNotFound
			}
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

// otherwise are the codes of RPCs that let a caller through and then find nothing to do: there is no such card, no such token, no signing
// secret, and no payment provider unless something stands in for it; and a key is rotated once.
var otherwise = map[string][]int{
	"customers.Keys.RotateKey":               {http.StatusOK, http.StatusConflict},
	"customers.Customers.RequestEmailChange": {http.StatusOK, http.StatusTooManyRequests},
	"customers.Customers.ConfirmEmailChange": {http.StatusBadRequest},
	"billing.Billing.DeleteCard":             {http.StatusNotFound},
	"billing.Billing.Webhook":                {http.StatusNotFound},

	"customers.Customers.ReadErasure": {http.StatusNotFound},
	"billing.Billing.SetupCard":       {http.StatusOK, http.StatusServiceUnavailable},
}

// answered is what a call that is expected to be let through is answered with.
func answered(m protoreflect.MethodDescriptor, want, got int) int {
	codes, ok := otherwise[string(m.FullName())]
	switch {
	case want != http.StatusOK || !ok:
		return want
	case slices.Contains(codes, got):
		return got
	}
	return codes[0]
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
		return p.fill.Replace(string(b))
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
		if m.Input().Fields().ByName(protoreflect.Name(field)).Kind() == protoreflect.BoolKind {
			bodies[field] = body(with(with(request, id, nobody), []string{field}, true))
		}
	}
	return bodies
}

// Every RPC by every caller with every token: exactly the code that the policy says, by RPC and, where the RPC is reachable
// from outside, over HTTP, where the others do not exist; and nobody sees anything of somebody else.
func TestAccess(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	known := pair{jane: p.customer(t, "jane.known@example.com"), joe: p.customer(t, "joe.known@example.com")}
	known.fill = p.members(t, known.jane)
	p.activate(t, known.joe)
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
					want := expected(string(m.FullName()), policy, caller, about)
					if kind != "good" && kind != "none" {
						want = http.StatusUnauthorized
					}
					code, answer := callRPC(t, rpc.As(token), m, body)
					checkAccess(t, what, answered(m, want, code), code, answer)
					checkOthersData(t, what, caller, answer, known)
					a, err := p.As(token).Post(t.Context(), pathOf(m), body)
					require.NoError(t, err)
					if want = answered(m, want, a.Code); !isOutside(t, m) {
						want = http.StatusNotFound
					}
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
