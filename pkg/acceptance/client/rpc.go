package client

import (
	"context"
	"errors"
	"io"

	_ "github.com/micro/micro/v3/proto/errors" // Micro's client cannot read an error without it
	"github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/util/codec/bytes"
)

// RPC makes calls the way the command line and services make them, as RPCs through the proxy, without starting a process
// for each.
type RPC struct {
	client.Client
	proxy, token string
}

// RPC returns a client for RPCs with a token; without one when it is empty.
func (c *Client) RPC(token string) *RPC {
	return &RPC{Client: grpc.NewClient(client.Broker(memory.NewBroker())), proxy: c.Proxy, token: token}
}

// As returns a client with another token, which shares the connections.
func (r *RPC) As(token string) *RPC { return &RPC{Client: r.Client, proxy: r.proxy, token: token} }

// Call makes a call through the proxy.
func (r *RPC) Call(ctx context.Context, request client.Request, response any, opts ...client.CallOption) error {
	if r.token != "" {
		ctx = metadata.Set(ctx, "Authorization", "Bearer "+r.token)
	}
	return r.Client.Call(ctx, request, response, append(opts, client.WithAddress(r.proxy))...)
}

// JSON sends a body as it is, in JSON, to an endpoint such as Customers.Create and returns the body of the answer.
func (r *RPC) JSON(ctx context.Context, service, endpoint, body string) (string, error) {
	var answer bytes.Frame
	err := r.Call(ctx, r.NewRequest(service, endpoint, &bytes.Frame{Data: []byte(body)},
		client.WithContentType("application/json")), &answer)
	return string(answer.Data), err
}

// Exchange opens a stream, sends a body on it, as it is, in JSON, and returns the first message that comes back.
func (r *RPC) Exchange(ctx context.Context, service, endpoint, body string) (string, error) {
	if r.token != "" {
		ctx = metadata.Set(ctx, "Authorization", "Bearer "+r.token)
	}
	request := r.NewRequest(service, endpoint, nil, client.WithContentType("application/json"), client.StreamingRequest())
	stream, err := r.Stream(ctx, request, client.WithAddress(r.proxy))
	if err != nil {
		return "", err
	}
	defer stream.Close() //nolint:errcheck // what was wrong has been said by Recv
	// The end of a stream that the other side has ended already: Recv says why.
	if err := stream.Send(&bytes.Frame{Data: []byte(body)}); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	var answer bytes.Frame
	err = stream.Recv(&answer)
	return string(answer.Data), err
}
