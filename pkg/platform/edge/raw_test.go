package edge

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/micro/micro/v3/proto/api"
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

// rawServices is a registry with a service whose endpoints take HTTP as it is.
type rawServices struct{}

func (rawServices) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	if name != "billing" {
		return nil, registry.ErrNotFound
	}
	raw := func(access string, more ...string) map[string]string {
		md := map[string]string{auth.EndpointKey: access, direct.RawKey: "true"}
		for i := 0; i+1 < len(more); i += 2 {
			md[more[i]] = more[i+1]
		}
		return md
	}
	return []*registry.Service{{
		Name: name, Nodes: []*registry.Node{{Address: "127.0.0.1:1"}},
		Endpoints: []*registry.Endpoint{
			{Name: "Billing.Webhook", Metadata: raw("public")},
			{Name: "Billing.Page", Metadata: raw("public", direct.LevelKey, direct.Safe)},
			{Name: "Billing.Inside", Metadata: raw("admin")},
			{Name: "Billing.Between", Metadata: raw("public")},
		},
	}, {
		Name: name, Version: "next",
		Endpoints: []*registry.Endpoint{{Name: "Billing.Between", Metadata: map[string]string{auth.EndpointKey: "public"}}},
	}}, nil
}

// rawCaller is a client that remembers the request and answers as it is told.
type rawCaller struct {
	client.Client
	response *api.Response
	err      error

	calls    int
	endpoint string
	request  *api.Request
	metadata metadata.Metadata
}

func (c *rawCaller) Call(ctx context.Context, request client.Request, response any, _ ...client.CallOption) error {
	c.calls++
	c.endpoint = request.Service() + " " + request.Endpoint()
	c.request, _ = request.Body().(*api.Request)
	c.metadata, _ = metadata.FromContext(ctx)
	answer, _ := response.(*api.Response)
	if c.response != nil {
		answer.StatusCode, answer.Header, answer.Body = c.response.StatusCode, c.response.Header, c.response.Body
	}
	return c.err
}

func setupRaw(t *testing.T) (*rawCaller, http.Handler) {
	t.Helper()
	c := &rawCaller{Client: grpc.NewClient()}
	h, err := New(Config{Client: c, Services: rawServices{}, Settings: settings(), Version: "v1", Log: func(logger.Level, string, ...any) {}})
	require.NoError(t, err)
	return c, h
}

func TestRawRequestsArriveAsTheyCame(t *testing.T) {
	t.Parallel()
	c, h := setupRaw(t)
	const body = " {\"amount\": 1.10,\n \"a\":\"ü\"} not JSON"
	a := do(t, h, "POST", "/billing/webhook?a=1&a=2", body, "Stripe-Signature", "t=1,v1=ab", "Content-Type", "text/x-anything",
		"X-Twice", "1", "X-Twice", "2", "Authorization", "Bearer abc")
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	require.Equal(t, "billing Billing.Webhook", c.endpoint)
	require.Equal(t, "POST", c.request.Method)
	require.Equal(t, "/billing/webhook", c.request.Path)
	require.Equal(t, "/billing/webhook?a=1&a=2", c.request.Url)
	require.Equal(t, body, c.request.Body)
	require.Equal(t, []string{"t=1,v1=ab"}, c.request.Header["Stripe-Signature"].Values)
	require.Equal(t, []string{"text/x-anything"}, c.request.Header["Content-Type"].Values)
	require.Equal(t, []string{"1", "2"}, c.request.Header["X-Twice"].Values)
	require.Equal(t, []string{"1", "2"}, c.request.Get["a"].Values)
	require.Equal(t, "Bearer abc", c.metadata["Authorization"])
}

func TestRawRequestsWithoutWhatIsTheEdges(t *testing.T) {
	t.Parallel()
	c, h := setupRaw(t)
	a := do(t, h, "POST", "/billing/webhook", "x", "Connection", "close, X-Named", "X-Named", "1", "Keep-Alive", "1", "Te", "x", "Upgrade", "h2c",
		"Proxy-Authorization", "x", "Cookie", "token=1", "Authorization", "Bearer secret", "X-Api-Key", "secret", "X-Forwarded-For", "6.6.6.6", "X-Request-Id", "forged", "X-Kept", "1")
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	for _, dropped := range []string{"Connection", "X-Named", "Keep-Alive", "Te", "Upgrade", "Proxy-Authorization", "Cookie", "Authorization", "X-Api-Key"} {
		require.NotContains(t, c.request.Header, dropped)
	}
	require.Equal(t, []string{"1"}, c.request.Header["X-Kept"].Values)
	require.Equal(t, []string{"192.0.2.1"}, c.request.Header["X-Forwarded-For"].Values)
	require.Equal(t, []string{a.Header.Get("X-Request-Id")}, c.request.Header["X-Request-Id"].Values)
	require.NotEqual(t, "forged", a.Header.Get("X-Request-Id"))
}

func TestRawRequestsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, body string
		code                       int
		detail, allow              string
		header                     []string
	}{
		{name: "body no UTF-8", method: "POST", target: "/billing/webhook", body: "a\xff", code: 400, detail: "body: expected UTF-8"},
		{name: "body too large", method: "POST", target: "/billing/webhook", body: strings.Repeat("x", 101), code: 413, detail: "body: larger"},
		{name: "header no UTF-8", method: "POST", target: "/billing/webhook", code: 400, detail: "header: expected UTF-8", header: []string{"X-A", "\xff"}},
		{name: "query no UTF-8", method: "POST", target: "/billing/webhook?a=%ff", code: 400, detail: "path and query: expected UTF-8"},
		{name: "query no query", method: "POST", target: "/billing/webhook?a=%zz", code: 400, detail: "query: expected name=value pairs"},
		{name: "two tokens", method: "POST", target: "/billing/webhook", code: 400, detail: "Authorization", header: []string{"Authorization", "a", "Authorization", "b"}},
		{name: "GET of what changes something", method: "GET", target: "/billing/webhook", code: 405, detail: "method: expected one of POST", allow: "POST"},
		{name: "PUT", method: "PUT", target: "/billing/page", code: 405, detail: "method: expected one of GET", allow: "GET, HEAD, POST"},
		{name: "for admins", method: "POST", target: "/billing/inside", code: 404, detail: "there is no such endpoint"},
		{name: "of which versions differ", method: "POST", target: "/billing/between", code: 404, detail: "there is no such endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, h := setupRaw(t)
			a := do(t, h, c.method, c.target, c.body, c.header...)
			requireError(t, a, c.code, c.detail)
			require.Equal(t, c.allow, a.Header.Get("Allow"))
			require.Zero(t, client.calls)
		})
	}
}

func TestRawAnswers(t *testing.T) {
	t.Parallel()
	c, h := setupRaw(t)
	c.response = &api.Response{StatusCode: 302, Body: "<b>moved</b>", Header: map[string]*api.Pair{
		"content-type":            {Key: "content-type", Values: []string{"text/html"}},
		"Location":                {Values: []string{"/x"}},
		"Connection":              {Values: []string{"X-Named"}},
		"X-Named":                 {Values: []string{"1"}},
		"Transfer-Encoding":       {Values: []string{"chunked"}},
		"Set-Cookie":              {Values: []string{"a=b"}},
		"Content-Length":          {Values: []string{"1"}},
		"Content-Security-Policy": {Values: []string{"none of yours"}},
		"X-Request-Id":            {Values: []string{"forged"}},

		"Access-Control-Allow-Origin": {Values: []string{"*"}}, "Clear-Site-Data": {Values: []string{"*"}}, "Alt-Svc": {Values: []string{"x"}},
		"X-Split": {Values: []string{"a\r\nX-Injected: 1"}},
		"X Bad":   {Values: []string{"1"}},
	}}
	for method, body := range map[string]string{"GET": "<b>moved</b>", "HEAD": ""} {
		a := do(t, h, method, "/billing/page", "")
		require.Equal(t, 302, a.StatusCode)
		require.Equal(t, body, a.body)
		require.Equal(t, "text/html", a.Header.Get("Content-Type"))
		require.Equal(t, "12", a.Header.Get("Content-Length"))
		require.Equal(t, "/x", a.Header.Get("Location"))
		for _, dropped := range []string{"Connection", "X-Named", "Transfer-Encoding", "Set-Cookie", "X-Split", "X-Injected", "X Bad",
			"Access-Control-Allow-Origin", "Clear-Site-Data", "Alt-Svc"} {
			require.NotContains(t, a.Header, dropped)
		}
		require.Equal(t, "default-src 'none'; frame-ancestors 'none'", a.Header.Get("Content-Security-Policy"))
		require.NotEqual(t, "forged", a.Header.Get("X-Request-Id"))
	}
	c.response = &api.Response{StatusCode: 204, Body: "dropped"}
	a := do(t, h, "POST", "/billing/webhook", "")
	require.Equal(t, 204, a.StatusCode)
	require.Empty(t, a.body)

	c.response = &api.Response{Body: "plain"}
	a = do(t, h, "POST", "/billing/webhook", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "text/plain; charset=utf-8", a.Header.Get("Content-Type"))
	for _, status := range []int32{-1, 1, 101, 600, 99999} {
		c.response = &api.Response{StatusCode: status}
		requireError(t, do(t, h, "POST", "/billing/webhook", ""), 502, "no answer")
	}
}

// What a service refuses is an error as of any other endpoint.
func TestRawErrors(t *testing.T) {
	t.Parallel()
	c, h := setupRaw(t)
	c.err = errors.BadRequest("billing.Billing.Webhook", "Stripe-Signature: wrong")
	a := do(t, h, "POST", "/billing/webhook", "")
	require.Equal(t, 400, a.StatusCode)
	require.Contains(t, a.body, "Stripe-Signature: wrong")
	c.err = errors.InternalServerError(clientID, "connection refused to 10.0.0.1")
	requireError(t, do(t, h, "POST", "/billing/webhook", ""), 503, "cannot be reached")
}
