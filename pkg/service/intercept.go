package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	microauth "github.com/micro/micro/v3/service/auth"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/auth/namespace"
	"github.com/micro/micro/v3/util/codec/bytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/internal/lookup"
	"github.com/m3o/backend/pkg/service/telemetry"
)

// intercept sees a call before Micro's server does: it finds the method, makes sure that the caller may call it, decodes
// the messages strictly, and makes sure that the caller is answered with a Micro error and nothing else.
func (s *Server) intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if s.forwards != nil && !s.isOwn(info.FullMethod) {
		if err := s.forward(ss, info.FullMethod); err != nil {
			return answer(passedOn(err))
		}
		return nil
	}
	m, unknown := s.resolve(info.FullMethod)
	call := m.record.Begin(ss.Context())
	err := unknown
	if err == nil {
		err = s.serve(srv, ss, m, call, next)
	}
	if err == nil {
		call.End(http.StatusOK)
		return nil
	}
	e := translate(call, m.endpoint, err)
	call.End(int(e.Code))
	return answer(e)
}

// serve lets Micro's server answer a call to a method, if its caller may make it.
func (s *Server) serve(srv any, ss grpc.ServerStream, m *method, call *telemetry.Call, next grpc.StreamHandler) error {
	if !s.drain.enter() {
		return microerrors.ServiceUnavailable(m.endpoint, direct.Stopping)
	}
	defer s.drain.leave()

	// Before anything of the body is looked at: who may not call is told nothing else.
	who, err := s.authorize(call, m)
	call.By(telemetry.Caller{Kind: who.caller.Kind.String(), Service: who.caller.Service})
	if err != nil {
		return err
	}
	enc, err := formatOf(call)
	if err != nil {
		return err
	}
	if m.unary != nil {
		c := &unaryCall{unary: m.unary, stream: decodingStream{ServerStream: ss, method: m, format: enc}}
		c.stream.ctx.Context, c.stream.ctx.identity = call, who
		return c.answer()
	}
	stream := &decodingStream{ServerStream: ss, method: m, format: enc}
	stream.ctx.Context, stream.ctx.identity = decodedAlready(call), who
	if err = next(srv, stream); err != nil && stream.refused != nil {
		err = stream.refused // whatever the handler of a stream has made of it
	}
	return err
}

// identity is who makes a call, and how that is known.
type identity struct {
	caller  auth.Caller
	account *microauth.Account // nil for somebody anonymous; other calls have it too, so that it must not be changed
	// byGateway says that the gateway has found out who calls.
	byGateway bool
}

// authorize tells who calls, or why they may not.
func (s *Server) authorize(ctx context.Context, m *method) (identity, error) {
	var who identity
	inspect := func(token string) (_ *microauth.Account, err error) {
		who.account, err = s.inspect(token)
		return who.account, err
	}
	came := lookup.Incoming(ctx)
	caller, err := auth.Authenticate(inspect, came["authorization"])
	if err != nil {
		return identity{}, err
	}
	who.caller = caller.In(s.name)
	if err := m.policy.Authorize(who.caller); err != nil || who.caller.Kind != auth.Gateway {
		return who, err
	}
	return customerOf(came[auth.CustomerKey])
}

// customerOf is the customer for whom the gateway calls, who may then do what the gateway may.
func customerOf(header []string) (identity, error) {
	if len(header) != 1 || header[0] == "" {
		return identity{}, microerrors.BadRequest("", "%s: expected the id of the customer", auth.CustomerKey)
	}
	id := header[0]
	return identity{
		caller:    auth.Caller{Kind: auth.Customer, ID: id},
		account:   &microauth.Account{ID: id, Type: "customer", Issuer: namespace.DefaultNamespace},
		byGateway: true,
	}, nil
}

const (
	// maxBody is how many bytes a message may have.
	maxBody = 32 << 20
	// maxReceived is how many bytes of a message gRPC takes. What is larger it refuses itself, with an error that Micro's
	// clients take for one of the inside; so that most of what is too large gets to us.
	maxReceived = 2 * maxBody
)

// format is how the bodies of a call are encoded.
type format int

const (
	protobuf format = iota
	jsonText
)

// formatOf reads the content type of a call, of which gRPC itself only made sure that it is its own. gRPC takes what
// it does not know for protobuf, Micro's server panics.
func formatOf(ctx context.Context) (format, error) {
	var contentType string
	if v := lookup.Incoming(ctx)["content-type"]; len(v) > 0 {
		contentType = v[len(v)-1]
	}
	switch contentType { // as our client and Micro's say it
	case "application/grpc+proto":
		return protobuf, nil
	case "application/grpc+json":
		return jsonText, nil
	}
	if base, _, err := mime.ParseMediaType(contentType); err == nil {
		contentType = base
	}
	switch strings.TrimPrefix(strings.ToLower(contentType), "application/grpc") {
	case "", "+proto":
		return protobuf, nil
	case "+json":
		return jsonText, nil
	default:
		return 0, microerrors.New("", "content-type: expected application/grpc+proto or application/grpc+json", 415)
	}
}

// decodedContentType is what Micro's server is told about the encoding: one for which it asks the stream for the typed
// message, whatever the caller sent. The reply is not affected: gRPC encodes it by the content type it read itself.
const decodedContentType = "application/octet-stream"

// decodedCodec stands in where Micro's server encodes each request once more for its wrappers, none of which reads it.
type decodedCodec struct{}

func (decodedCodec) Marshal(any) ([]byte, error) { return nil, nil }
func (decodedCodec) Unmarshal([]byte, any) error { return nil }
func (decodedCodec) Name() string                { return "decoded" }

// decodedAlready is the context of a call whose content type is the one of a message that is decoded already.
func decodedAlready(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	if md == nil {
		md = make(metadata.MD)
	}
	md.Set("content-type", decodedContentType)
	return metadata.NewIncomingContext(ctx, md)
}

// decodingStream decodes the messages that it receives, and lets those of a customer through that are about themself.
type decodingStream struct {
	grpc.ServerStream
	method *method
	format format
	ctx    callContext
	// refused is why a message was refused.
	refused error
}

// Context implements grpc.ServerStream.
func (s *decodingStream) Context() context.Context { return &s.ctx }

// RecvMsg receives the next message into v. Its errors are Micro errors, except for io.EOF at the end of a stream.
func (s *decodingStream) RecvMsg(v any) error {
	err := s.receive(v)
	if e, ok := err.(*microerrors.Error); ok { //nolint:errorlint // as it was made here
		s.refused = e
	}
	return err
}

func (s *decodingStream) receive(v any) error {
	msg := direct.MessageOf(v)
	if msg == nil {
		return s.ServerStream.RecvMsg(v)
	}
	var frame bytes.Frame
	switch err := s.ServerStream.RecvMsg(&frame); {
	case err == nil:
	case errors.Is(err, io.EOF) && !s.method.desc.IsStreamingClient():
		return microerrors.BadRequest(s.method.endpoint, "body: a message is missing")
	default:
		return err
	}
	if len(frame.Data) > maxBody {
		return microerrors.New(s.method.endpoint, fmt.Sprintf("body: must have at most %d bytes", maxBody), 413)
	}
	if err := decode(frame.Data, s.format, msg); err != nil {
		return microerrors.BadRequest(s.method.endpoint, "%s", err.Error())
	}
	if err := s.method.policy.Own(s.ctx.caller, msg); err != nil {
		proto.Reset(msg) // a handler that overlooks the error has nothing
		return translate(&s.ctx, s.method.endpoint, err)
	}
	return nil
}
