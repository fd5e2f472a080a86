// Package servicetest runs handlers behind the real server, for tests that see what a caller sees: an RPC over a socket,
// let through by its policy, decoded strictly, answered with a Micro error.
package servicetest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/client"
	grpcclient "github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/micro/micro/v3/util/auth/namespace"
	"github.com/micro/micro/v3/util/codec/bytes"
	"github.com/stretchr/testify/require"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/service"
)

// Serve serves what register registers, under a name, until the test ends, and returns a client of it:
//
//	c := pb.NewCustomersService("customers", servicetest.Serve(t, "customers", func(s server.Server) error {
//		return pb.RegisterCustomersHandler(s, h)
//	}))
//
// The client calls as an admin; As makes one that calls as somebody else. The options are those of the server.
func Serve(t testing.TB, name string, register func(server.Server) error, opts ...service.Option) *Client {
	t.Helper()
	s, err := service.NewServer(grpcserver.NewServer(
		server.Name(name),
		server.Address("127.0.0.1:0"),
		server.Registry(registry.NewRegistry()),
		server.Broker(memory.NewBroker()),
	), inspect, opts...)
	require.NoError(t, err)
	require.NoError(t, register(s))
	require.NoError(t, s.Start())
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return (&Client{
		Client:  grpcclient.NewClient(client.Broker(memory.NewBroker())),
		Address: s.Options().Address,
		name:    name,
	}).As(Admin)
}

// Client is Micro's client for the one server that Serve has started.
type Client struct {
	client.Client
	// Address is where the server listens, for callers of other sorts.
	Address string
	name    string
	// authorization is the header that calls have; empty for none.
	authorization string
}

// Admin is the account of an operator.
var Admin = &auth.Account{ID: "admin", Issuer: namespace.DefaultNamespace, Type: "user", Scopes: []string{"admin"}}

// Customer is the account of a customer.
func Customer(id string) *auth.Account {
	return &auth.Account{ID: id, Issuer: namespace.DefaultNamespace, Type: "customer"}
}

// Service is the account of a service, as the runtime makes it. "gateway" is the gateway's, as in policies.
func Service(name string) *auth.Account {
	if name == "gateway" {
		return token.ServiceAccount(access.Part("api"), access.Part("api"))
	}
	return token.ServiceAccount(name+"-latest", name)
}

// Token is what an account logs in with here: the account itself, as nothing has to be kept from anybody.
func Token(account *auth.Account) string {
	text, err := json.Marshal(account) //nolint:gosec // an account of a test has no secret
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func inspect(token string) (*auth.Account, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, auth.ErrInvalidToken
	}
	account := new(auth.Account)
	if json.Unmarshal(text, account) != nil {
		return nil, auth.ErrInvalidToken
	}
	return account, nil
}

// As returns a client that calls as the account; as nobody when it is nil.
func (c *Client) As(account *auth.Account) *Client {
	if account == nil {
		return c.With("")
	}
	return c.With("Bearer " + Token(account))
}

// With returns a client whose calls have an Authorization header.
func (c *Client) With(authorization string) *Client {
	other := *c
	other.authorization = authorization
	return &other
}

func (c *Client) context(ctx context.Context) context.Context {
	if c.authorization == "" {
		return ctx
	}
	return metadata.Set(ctx, "Authorization", c.authorization)
}

// Call calls the server, whatever service the request is for.
func (c *Client) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return c.Client.Call(c.context(ctx), req, rsp, append(opts, client.WithAddress(c.Address))...)
}

// Stream opens a stream to the server.
func (c *Client) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	return c.Client.Stream(c.context(ctx), req, append(opts, client.WithAddress(c.Address))...)
}

// JSON sends a body as it is, in JSON, to an endpoint such as Customers.Create and returns the body of the answer.
func (c *Client) JSON(ctx context.Context, endpoint, body string) (string, error) {
	return c.Raw(ctx, endpoint, "application/json", body)
}

// Raw sends a body as it is in the encoding that the content type names, and returns the body of the answer.
func (c *Client) Raw(ctx context.Context, endpoint, contentType, body string) (string, error) {
	var reply bytes.Frame
	req := c.NewRequest(c.name, endpoint, &bytes.Frame{Data: []byte(body)}, client.WithContentType(contentType))
	err := c.Call(ctx, req, &reply)
	return string(reply.Data), err
}

// RequireError fails the test unless err is the Micro error of a code and an endpoint whose detail begins with a text, or
// with what a regular expression matches.
func RequireError(t testing.TB, err error, code int, endpoint, detail string) {
	t.Helper()
	require.Error(t, err)
	e := errors.FromError(err)
	require.EqualValues(t, code, e.Code, "%+v", e)
	require.Equal(t, endpoint, e.Id)
	require.Regexp(t, "^"+detail, e.Detail)
}
