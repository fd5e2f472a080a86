package edge

import (
	"testing"

	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
)

func TestUnauthorizedSaysWhatIsWanted(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	client.err = errors.Unauthorized("customers.Customers.Create", "who are you")
	a := do(t, h, "POST", "/customers/Create", "{}", "Cookie", "micro-token=x")
	require.Equal(t, 401, a.StatusCode)
	require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"))
	require.JSONEq(t, `{"id":"customers.Customers.Create","code":401,"detail":"who are you","status":"Unauthorized"}`, a.body)
}

func TestRefusedMethodsNameTheOthers(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	require.Equal(t, "POST", do(t, h, "GET", "/customers/Create", "").Header.Get("Allow"))
	require.Equal(t, "POST", do(t, h, "HEAD", "/customers/Create", "").Header.Get("Allow"))
	require.Equal(t, "GET, HEAD, POST", do(t, h, "PUT", "/customers/Read", "{}").Header.Get("Allow"))
}

func TestHeadHasNoBody(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	a := do(t, h, "HEAD", "/customers/Read?id=5", "")
	require.Empty(t, a.body)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "11", a.Header.Get("Content-Length"))
	require.Equal(t, 1, client.calls)
}
