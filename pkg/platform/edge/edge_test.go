package edge

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/registry"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/direct"
)

// services is a registry that knows one service and a core service, or none when it is away.
type services struct{ err error }

func (s services) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	if s.err != nil {
		return nil, s.err
	}
	switch name {
	case "auth": // says nothing, as Micro's own services
		return []*registry.Service{{
			Name: name, Nodes: []*registry.Node{{Address: "127.0.0.1:2"}},
			Endpoints: []*registry.Endpoint{{Name: "Auth.Generate"}, {Name: "Auth.Token", Metadata: map[string]string{"stream": "true"}}},
		}}, nil
	case "customers":
	default:
		return nil, registry.ErrNotFound
	}
	return []*registry.Service{{
		Name: name, Nodes: []*registry.Node{{Address: "127.0.0.1:1"}},
		Endpoints: []*registry.Endpoint{
			{Name: "Customers.Read", Metadata: safe("customer"), Request: &registry.Value{
				Values: []*registry.Value{{Name: "detail", Type: "bool"}, {Name: "id", Type: "string"}},
			}},
			{Name: "Customers.Create", Metadata: saying("public")},
			{Name: "Customers.List", Metadata: saying("customer")},
			{Name: "Keys.VerifyKey", Metadata: saying("public")},
			{Name: "Customers.Ban", Metadata: saying("admin")},
			{Name: "Customers.Sell", Metadata: saying("gateway")},
			{Name: "Customers.Nobody", Metadata: saying("nobody")},
			{Name: "Customers.Else", Metadata: saying("PUBLIC")},
			{Name: "Customers.Unsaid"},
			{Name: "Customers.Closing", Metadata: saying("public")},
			{Name: "Customers.Unsafe", Metadata: safe("public")},
		},
	}, { // another version, of which some is not for the outside any more, or not safe
		Name: name, Version: "next",
		Endpoints: []*registry.Endpoint{
			{Name: "Customers.Closing", Metadata: saying("admin")},
			{Name: "Customers.Ban", Metadata: saying("public")},
			{Name: "Customers.Unsafe", Metadata: saying("public")},
		},
	}}, nil
}

func saying(access string) map[string]string { return map[string]string{auth.EndpointKey: access} }

func safe(access string) map[string]string {
	return map[string]string{auth.EndpointKey: access, direct.LevelKey: direct.Safe}
}

// caller is a client that remembers what it was asked and answers as it is told.
type caller struct {
	client.Client
	answer string
	err    error
	panics any

	calls    int
	endpoint string
	body     string
	metadata metadata.Metadata
}

func (c *caller) Call(ctx context.Context, request client.Request, response any, _ ...client.CallOption) error {
	c.calls++
	c.endpoint = request.Service() + " " + request.Endpoint()
	c.body = string(*request.Body().(*json.RawMessage))
	c.metadata, _ = metadata.FromContext(ctx)
	if c.panics != nil {
		panic(c.panics)
	}
	*response.(*json.RawMessage) = json.RawMessage(c.answer)
	return c.err
}

func setup(t *testing.T, s services) (*caller, http.Handler) {
	t.Helper()
	return setupWith(t, s, settings())
}

// settings are those of most tests.
func settings() Settings {
	s := DefaultSettings()
	s.MaxBodyBytes = 100
	return s
}

func setupWith(t *testing.T, s services, with Settings) (*caller, http.Handler) {
	t.Helper()
	c := &caller{Client: grpc.NewClient(), answer: `{"ok":true}`}
	h, err := New(Config{Client: c, Services: s, Settings: with, Version: "v1", Log: func(logger.Level, string, ...any) {}})
	require.NoError(t, err)
	return c, h
}

// reply is an answer that was read to its end.
type reply struct {
	*http.Response
	body string
}

func read(t *testing.T, r *http.Response) reply {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	return reply{r, string(b)}
}

// do makes a request of a loopback name; each pair of header is added to what is there.
func do(t *testing.T, h http.Handler, method, target, body string, header ...string) reply {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return read(t, w.Result())
}

// requireError checks that an answer is an error of the edge, in JSON.
func requireError(t *testing.T, r reply, code int, detail string) {
	t.Helper()
	require.Equal(t, code, r.StatusCode, r.body)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	var e errors.Error
	require.NoError(t, json.Unmarshal([]byte(r.body), &e), r.body)
	require.EqualValues(t, code, e.Code)
	require.Equal(t, "api", e.Id)
	require.Contains(t, e.Detail, detail)
}

func TestCallsReachTheService(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, method, target, body, endpoint, sent string }{
		{"main service", "POST", "/customers/Create", `{"email":"a@b.c"}`, "customers Customers.Create", `{"email":"a@b.c"}`},
		{"lower case", "POST", "/customers/create", `{}`, "customers Customers.Create", `{}`},
		{"other handler", "POST", "/customers/Keys/VerifyKey", `{}`, "customers Keys.VerifyKey", `{}`},
		{"hyphens", "POST", "/customers/keys/verify-key", `{}`, "customers Keys.VerifyKey", `{}`},
		{"empty body", "POST", "/customers/List", ``, "customers Customers.List", `{}`},
		{"space around", "POST", "/customers/List", " \n{} ", "customers Customers.List", " \n{} "},
		{"query", "GET", "/customers/Read?id=5", "", "customers Customers.Read", `{"id":"5"}`},
		{"truth", "GET", "/customers/Read?detail=true&id=true", "", "customers Customers.Read", `{"detail":true,"id":"true"}`},
		{"no truth", "GET", "/customers/Read?detail=5", "", "customers Customers.Read", `{"detail":"5"}`},
		{"repeated", "GET", "/customers/Read?id=5&id=6", "", "customers Customers.Read", `{"id":["5","6"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, h := setup(t, services{})
			a := do(t, h, c.method, c.target, c.body)
			require.Equal(t, http.StatusOK, a.StatusCode, a.body)
			require.JSONEq(t, `{"ok":true}`, a.body)
			require.Equal(t, c.endpoint, client.endpoint)
			require.Equal(t, c.sent, client.body)
		})
	}
}

func TestWhatCannotBeACallReachesNoService(t *testing.T) {
	t.Parallel()
	const secret = "jane@example.com"
	for _, c := range []struct {
		name, method, target, body string
		code                       int
		detail                     string
		header                     []string
	}{
		{"unknown service", "POST", "/nobody/Create", "{}", 404, "no such service", nil},
		{"one part", "POST", "/customers", "{}", 404, "names no call", nil},
		{"four parts", "POST", "/customers/a/b/c", "{}", 404, "names no call", nil},
		{"path tricks", "POST", "/customers/..%2fx", "{}", 404, "names no call", nil},
		{"encoded slash", "POST", "/customers%2fCreate", "{}", 404, "names no call", nil},
		{"other charset", "POST", "/customers/Create", "{}", 415, "UTF-8", []string{"Content-Type", "application/json; charset=utf-16"}},
		{"malformed", "POST", "/customers/Create", `{"email":` + secret, 400, "body: expected valid JSON", nil},
		{"two objects", "POST", "/customers/Create", `{}{}`, 400, "body: expected valid JSON", nil},
		{"not an object", "POST", "/customers/Create", `["` + secret + `"]`, 400, "body: expected a JSON object", nil},
		{"too large", "POST", "/customers/Create", `{"name":"` + strings.Repeat("x", 200) + `"}`, 413, "body: larger", nil},
		{"other type", "POST", "/customers/Create", secret, 415, "Content-Type: expected", []string{"Content-Type", "text/xml"}},
		{"other method", "TRACE", "/customers/Read", "", 405, "method: expected POST, or GET", nil},
		{"put", "PUT", "/customers/Create", "{}", 405, "method: expected POST", nil},
		{"get of what changes something", "GET", "/customers/Create?email=a", "", 405, "method: expected POST", nil},
		{"get of what one version says is safe", "GET", "/customers/Unsafe", "", 405, "method: expected POST", nil},
		{"two tokens", "POST", "/customers/Create", "{}", 400, "Authorization: expected it once",
			[]string{"Authorization", "Bearer " + secret, "Authorization", "Bearer x"}},
		{"long path", "POST", "/customers/" + strings.Repeat("x", maxURI), "{}", 414, "the URI is longer", nil},
		{"long query", "GET", "/customers/Read?id=" + strings.Repeat("x", maxURI), "", 414, "the URI is longer", nil},
		{"large header", "POST", "/customers/Create", "{}", 431, "the header is larger", []string{"X", strings.Repeat("x", maxHeader)}},
		{"many headers", "POST", "/customers/Create", "{}", 431, "the header is larger", slices.Repeat([]string{"X", ""}, maxHeader/5+1)},
		{"with a key, where nothing is sold", "POST", "/v1/customers/Create", "{}", 404, "nothing is sold here", nil},
		{"nothing but v1", "POST", "/v1", "{}", 404, "nothing is sold here", nil},
		{"v1 as a service", "POST", "//v1/Customers/Create", "{}", 404, "names no call", nil},
		{"v1 as a service, encoded", "POST", "/%761/Customers/Create", "{}", 404, "names no call", nil},
		{"asterisk", "OPTIONS", "*", "", 404, "names no call", nil},
		{"options", "OPTIONS", "/customers/Create", "", 405, "method: expected POST", nil},
		{"bad query", "GET", "/customers/Read?id=%zz", "", 400, "query: expected", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, h := setup(t, services{})
			a := do(t, h, c.method, c.target, c.body, c.header...)
			requireError(t, a, c.code, c.detail)
			require.NotContains(t, a.body, secret)
			require.Zero(t, client.calls)
		})
	}
}

// What is not for everybody or for customers does not exist here, for an admin neither.
func TestWhatIsNotForTheOutsideIsNotThere(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/customers/Ban", "/customers/ban", "/customers/Customers/Ban", "/customers/customers/ban", "/customers/Sell", "/customers/Nobody",
		"/customers/Else", "/customers/Unsaid", "/customers/Closing", "/customers/Unknown", "/customers/Debug/Health", "/auth/Generate",
		"/auth/Auth/Generate", "/auth/Auth/Token", "/auth/Accounts/List",
	} {
		for _, method := range []string{"GET", "POST"} {
			client, h := setup(t, services{})
			a := do(t, h, method, path, `{`, "Authorization", "Bearer x")
			require.Equal(t, 404, a.StatusCode, path)
			require.Contains(t, a.body, "there is no such endpoint", path)
			require.Zero(t, client.calls)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		code   int
		detail string
	}{
		{"the service's", errors.Conflict("customers.Customers.Update", "version: is 4 now"), 409, "version: is 4 now"},
		{"too late", errors.Timeout(clientID, "call timeout: context deadline exceeded"), 504, "did not answer in time"},
		{"refused", errors.InternalServerError(clientID, "Error sending request: 127.0.0.1:1 refused"), 503, "cannot be reached"},
		{"no Micro error", io.ErrUnexpectedEOF, 503, "cannot be reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, h := setup(t, services{})
			client.err = c.err
			a := do(t, h, "POST", "/customers/Create", "{}")
			require.Equal(t, c.code, a.StatusCode)
			require.Contains(t, a.body, c.detail)
			require.NotContains(t, a.body, "127.0.0.1")
		})
	}
	t.Run("registry away", func(t *testing.T) {
		t.Parallel()
		_, h := setup(t, services{err: io.ErrUnexpectedEOF})
		a := do(t, h, "POST", "/customers/Create", "{}")
		require.Equal(t, 503, a.StatusCode)
		require.NotContains(t, a.body, "EOF")
	})
}

// registryDouble answers as it is told, and not before it is let.
type registryDouble struct {
	mu    sync.Mutex
	err   error
	asked int
	hold  chan struct{}
}

func (r *registryDouble) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	r.mu.Lock()
	r.asked++
	err, hold := r.err, r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return services{err: err}.GetService(name)
}

func (r *registryDouble) set(err error, hold chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.hold = err, hold
}

func TestNodes(t *testing.T) {
	t.Parallel()
	r := &registryDouble{}
	n := newNodes(r)
	now := time.Unix(1_000_000, 0)
	n.clock = func() time.Time { return now }
	// step lets time pass, makes a call and waits until the registry has been asked if it is.
	step := func(after time.Duration, err error, want ...string) {
		t.Helper()
		n.mu.Lock()
		now = now.Add(after)
		n.mu.Unlock()
		r.set(err, nil)
		got, failure := n.find("customers")
		require.NoError(t, failure)
		require.Equal(t, want, got.addresses)
		n.mu.Lock()
		answered := n.asking["customers"]
		n.mu.Unlock()
		if answered != nil {
			<-answered
		}
	}
	const node = "127.0.0.1:1"
	step(0, nil, node)
	step(fresh/2, registry.ErrNotFound, node)
	step(fresh, registry.ErrNotFound, node)
	step(fresh, io.ErrUnexpectedEOF, node)
	step(time.Hour, io.ErrUnexpectedEOF, node)
	step(fresh, registry.ErrNotFound, node) // the call that finds out
	step(0, nil)
	n.suspect("customers")
	step(0, nil, node)

	for i := range 2 * maxKnown {
		e, err := n.find(strings.Repeat("x", i))
		require.NoError(t, err)
		require.Empty(t, e.addresses)
	}
	require.LessOrEqual(t, len(n.known), maxKnown)
}

func TestRegistryThatHangsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := &registryDouble{}
	n := newNodes(r)
	_, err := n.find("customers")
	require.NoError(t, err)

	hold := make(chan struct{})
	defer close(hold)
	r.set(nil, hold)
	begin := time.Now()
	for range 100 {
		n.suspect("customers")
		e, err := n.find("customers")
		require.NoError(t, err)
		require.NotEmpty(t, e.addresses)
	}
	require.Less(t, time.Since(begin), patience)
	r.mu.Lock()
	require.LessOrEqual(t, r.asked, 2, "it is asked once at a time")
	r.mu.Unlock()
	_, err = n.find("unknown")
	require.ErrorIs(t, err, errSlow)
}

func TestRootTellsTheVersion(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	a := do(t, h, "GET", "/", "")
	require.Equal(t, 200, a.StatusCode)
	require.JSONEq(t, `{"version":"v1"}`, a.body)
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"/customers/Create", "/a/b/c", "//", "/customers/verify-key", "/ä/ö", "/x/-"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, ok := routeOf(path)
		if !ok {
			require.Zero(t, r)
			return
		}
		require.Equal(t, url.PathEscape(r.service), r.service)
		handler, method, found := strings.Cut(r.endpoint, ".")
		require.True(t, found)
		require.Equal(t, url.PathEscape(handler+method), handler+method)
	})
}

func FuzzBody(f *testing.F) {
	for _, body := range []string{"", "{}", "[]", `{"a":`, "\xff", `{"a":"\u0000"}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := objectOf(body)
		if err != nil {
			require.EqualValues(t, 400, errors.FromError(err).Code)
			return
		}
		var fields map[string]any
		require.NoError(t, json.Unmarshal(object, &fields))
	})
}
