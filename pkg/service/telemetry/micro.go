package telemetry

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"

	"github.com/m3o/backend/pkg/service/internal/lookup"
)

// WrapClient returns a client whose calls are recorded and carry the trace on.
func (r *Recorder) WrapClient(inner client.Client) client.Client {
	return &recordedClient{Client: inner, recorder: r}
}

type recordedClient struct {
	client.Client
	recorder *Recorder
}

// Call makes a call.
func (c *recordedClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	ctx, call := c.recorder.Client(ctx, req.Service(), req.Endpoint())
	err := c.Client.Call(&outgoing{ctx, call.Traceparent()}, req, rsp, opts...)
	call.End(err)
	return err
}

// Stream opens a stream, which is a call that ends with it.
func (c *recordedClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	ctx, call := c.recorder.Client(ctx, req.Service(), req.Endpoint())
	inner, err := c.Client.Stream(&outgoing{ctx, call.Traceparent()}, req, opts...)
	if err != nil {
		call.End(err)
		return nil, err
	}
	return &recordedStream{Stream: inner, call: call}, nil
}

// microHeader is Header as Micro's metadata has it, which writes keys with a capital letter.
const microHeader = "Traceparent"

// outgoing is the context of a call that is made: the trace is in its metadata, where any client of Micro finds it. A client
// that asks Outgoing has no copy of the metadata made for it.
type outgoing struct {
	context.Context
	traceparent string
}

// Value implements context.Context.
func (o *outgoing) Value(key any) any {
	if key == lookup.MetadataKey {
		md, ok := metadata.FromContext(o.Context) // a copy
		if !ok {
			md = make(metadata.Metadata, 1)
		}
		md[microHeader] = o.traceparent
		return md
	}
	return o.Context.Value(key)
}

// Outgoing returns the metadata of a call that is about to be made, which must not be changed, with the header of its trace
// beside it. The header is empty where nobody has recorded the call, and stands for any in the metadata where it is not.
func Outgoing(ctx context.Context) (md metadata.Metadata, traceparent string) {
	if o, ok := ctx.(*outgoing); ok {
		return lookup.Metadata(o.Context), o.traceparent
	}
	return lookup.Metadata(ctx), ""
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
