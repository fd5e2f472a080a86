package direct

import (
	"context"
	stderrors "errors"
	"io"
	"strings"
	"sync"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/util/codec"
	"github.com/micro/micro/v3/util/codec/bytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// both says that either side may send any number of messages: Micro's requests do not tell which side does.
var both = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// Stream implements client.Client. The stream lives until Recv fails, which io.EOF at its end is as well, or ctx ends; it
// has no deadline but that of ctx, or of client.WithStreamTimeout. It is opened on another node only if it is certain that
// the first knew nothing of it: what happens to an open stream its caller is told. Errors are those of Call.
func (c *Client) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	settings := *c.settings.Load()
	for _, o := range opts {
		o(&settings)
	}
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	enc, err := encodingOf(req)
	if err != nil {
		return nil, err
	}
	t, err := c.find(req.Service(), settings.Address)
	if err != nil {
		return nil, errUnreachable(req.Service())
	}
	header := c.header(ctx, req.Service(), settings.AuthToken, nil)
	var cancel context.CancelFunc
	if settings.StreamTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, settings.StreamTimeout)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	s := &stream{ctx: ctx, cancel: cancel, req: req, encoding: enc}
	if err := c.open(metadata.AppendToOutgoingContext(ctx, header...), &t, s, settings); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// open opens a stream on some node.
func (c *Client) open(ctx context.Context, t *target, s *stream, settings client.CallOptions) error {
	var a attempts
	for {
		p, err := c.next(ctx, t, &a)
		if err != nil {
			return err
		}
		f := client.CallFunc(func(ctx context.Context, _ string, req client.Request, _ any, _ client.CallOptions) error {
			var err error
			s.grpc, err = p.conn.NewStream(ctx, both, path(req.Service(), req.Endpoint()), s.encoding.options...)
			return err
		})
		for i := len(settings.CallWrappers) - 1; i >= 0; i-- {
			f = settings.CallWrappers[i](f)
		}
		err = f(t.visible(ctx), p.addr, s.req, s, settings)
		if err == nil {
			context.AfterFunc(s.ctx, p.release)
			return nil
		}
		p.release()
		if fateOf(ctx, err) != untouched {
			return microError(ctx, s.req.Service(), s.req.Endpoint(), err)
		}
		a.tried = append(a.tried, p)
	}
}

// stream is a client.Stream of Micro.
type stream struct {
	ctx      context.Context //nolint:containedctx // Micro's interface hands it out
	cancel   context.CancelFunc
	req      client.Request
	encoding *encoding
	grpc     grpc.ClientStream

	mu  sync.Mutex
	err error
}

// Context implements client.Stream.
func (s *stream) Context() context.Context { return s.ctx }

// Request implements client.Stream.
func (s *stream) Request() client.Request { return s.req }

// Response implements client.Stream.
func (s *stream) Response() client.Response { return response{s} }

// Send implements client.Stream. After io.EOF, Recv tells what has happened.
func (s *stream) Send(v any) error {
	body, err := encodeMessage(s.encoding, v)
	if err != nil {
		return s.fail(err)
	}
	if err := s.grpc.SendMsg(body); err != nil {
		return s.fail(s.microError(err))
	}
	return nil
}

// Recv implements client.Stream.
func (s *stream) Recv(v any) error {
	err := s.grpc.RecvMsg(v)
	if err != nil {
		err = s.fail(s.microError(err))
		s.cancel() // gRPC has ended the stream
	}
	return err
}

func (s *stream) microError(err error) error {
	if stderrors.Is(err, io.EOF) {
		return io.EOF
	}
	return microError(s.ctx, s.req.Service(), s.req.Endpoint(), err)
}

func (s *stream) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	return err
}

// Error implements client.Stream: it returns the last error of Send or Recv.
func (s *stream) Error() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close implements client.Stream: nothing more is going to be sent. What the service still sends can be received.
func (s *stream) Close() error { return s.grpc.CloseSend() }

// response is a stream's answer for those who do not know its type.
type response struct{ *stream }

// Codec implements client.Response.
func (r response) Codec() codec.Reader { return r }

// Header implements client.Response. It waits for the service to send it.
func (r response) Header() map[string]string {
	header := make(map[string]string)
	md, err := r.grpc.Header()
	if err != nil {
		return header
	}
	for k, v := range md {
		header[k] = strings.Join(v, ",")
	}
	return header
}

// Read implements client.Response.
func (r response) Read() ([]byte, error) {
	var f bytes.Frame
	err := r.Recv(&f)
	return f.Data, err
}

// ReadHeader implements codec.Reader.
func (r response) ReadHeader(m *codec.Message, _ codec.MessageType) error {
	m.Header = r.Header()
	return nil
}

// ReadBody implements codec.Reader.
func (r response) ReadBody(v any) error { return r.Recv(v) }
