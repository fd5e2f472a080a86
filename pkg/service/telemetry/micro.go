package telemetry

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
)

// WrapClient returns a client whose calls are recorded and carry the trace on.
func (r *Recorder) WrapClient(inner client.Client) client.Client {
	return &recordedClient{Client: inner, recorder: r}
}

type recordedClient struct {
	client.Client
	recorder *Recorder
}

// microHeader is Header as Micro's metadata has it, which writes keys with a capital letter.
const microHeader = "Traceparent"

// Call makes a call.
func (c *recordedClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	ctx, call := c.recorder.Client(ctx, req.Service(), req.Endpoint())
	err := c.Client.Call(metadata.Set(ctx, microHeader, call.Traceparent()), req, rsp, opts...)
	call.End(err)
	return err
}

// Stream opens a stream, which is a call that ends with it.
func (c *recordedClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	ctx, call := c.recorder.Client(ctx, req.Service(), req.Endpoint())
	inner, err := c.Client.Stream(metadata.Set(ctx, microHeader, call.Traceparent()), req, opts...)
	if err != nil {
		call.End(err)
		return nil, err
	}
	return &recordedStream{Stream: inner, call: call}, nil
}

// recordedStream ends with what comes first: the end of what is received, an error, or being closed.
type recordedStream struct {
	client.Stream
	call ClientCall
	once sync.Once
}

// Recv receives a message.
func (s *recordedStream) Recv(message any) error {
	err := s.Stream.Recv(message)
	if errors.Is(err, io.EOF) {
		s.end(nil)
	} else if err != nil {
		s.end(err)
	}
	return err
}

// Close closes the stream.
func (s *recordedStream) Close() error {
	err := s.Stream.Close()
	s.end(err)
	return err
}

func (s *recordedStream) end(err error) { s.once.Do(func() { s.call.End(err) }) }
