package service

import (
	"context"
	"io"
	"reflect"
	"strings"

	micrometadata "github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/codec"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// unary is a method of a handler that takes one message and gives one. Micro's server would call it as well, after it had
// copied what came with the call twice more and encoded the message once more: a seventh of what a call costs.
type unary struct {
	call     server.HandlerFunc
	in, out  reflect.Type // what the pointers that the method takes point to
	service  string
	endpoint string
}

// unaryOf finds a method of a handler; nil if it is not one that can be called like this.
func unaryOf(handler any, service, endpoint string) *unary {
	_, name, _ := strings.Cut(endpoint, ".")
	f := reflect.ValueOf(handler).MethodByName(name)
	if !f.IsValid() || f.Type().NumIn() != 3 || f.Type().In(1).Kind() != reflect.Pointer || f.Type().In(2).Kind() != reflect.Pointer {
		return nil
	}
	return &unary{
		in: f.Type().In(1).Elem(), out: f.Type().In(2).Elem(), service: service, endpoint: endpoint,
		call: func(ctx context.Context, req server.Request, rsp any) error {
			err, _ := f.Call([]reflect.Value{
				reflect.ValueOf(ctx), reflect.ValueOf(req.Body()), reflect.ValueOf(rsp),
			})[0].Interface().(error)
			return err
		},
	}
}

// wrap puts wrappers around it, the first outermost, as Micro's server does.
func (u *unary) wrap(wrappers []server.HandlerWrapper) {
	for i := len(wrappers) - 1; i >= 0; i-- {
		u.call = wrappers[i](u.call)
	}
}

// answer answers a call.
func (u *unary) answer(s *decodingStream) error {
	body := reflect.New(u.in).Interface()
	if err := s.RecvMsg(body); err != nil {
		return err
	}
	rsp := reflect.New(u.out).Interface()
	request := &unaryRequest{unary: u, body: body}
	if err := u.call(s.handlerContext(&request.header), request, rsp); err != nil {
		return err
	}
	return s.SendMsg(rsp)
}

// handlerContext is the context of a handler: what came with the call is in it where Micro's handlers look for it, and so
// is who calls.
func (s *decodingStream) handlerContext(header *map[string]string) context.Context {
	came, _ := metadata.FromIncomingContext(s.call)
	md := make(micrometadata.Metadata, len(came)+1)
	for key, values := range came {
		if len(values) == 1 {
			md[key] = values[0]
		} else {
			md[key] = strings.Join(values, ", ")
		}
	}
	delete(md, "timeout")
	if p, ok := peer.FromContext(s.call); ok {
		md["Remote"] = p.Addr.String()
	}
	*header = md
	return s.identified(micrometadata.NewContext(s.call, md))
}

// unaryRequest is what wrappers see of a call.
type unaryRequest struct {
	*unary
	body   any
	header map[string]string
}

// Service implements server.Request.
func (r *unaryRequest) Service() string { return r.service }

// Method implements server.Request.
func (r *unaryRequest) Method() string { return r.endpoint }

// Endpoint implements server.Request.
func (r *unaryRequest) Endpoint() string { return r.endpoint }

// ContentType implements server.Request.
func (r *unaryRequest) ContentType() string { return r.header["content-type"] }

// Header implements server.Request.
func (r *unaryRequest) Header() map[string]string { return r.header }

// Body implements server.Request.
func (r *unaryRequest) Body() any { return r.body }

// Read implements server.Request: the message has been decoded, and there is no other.
func (r *unaryRequest) Read() ([]byte, error) { return nil, io.EOF }

// Codec implements server.Request.
func (r *unaryRequest) Codec() codec.Reader { return nil }

// Stream implements server.Request.
func (r *unaryRequest) Stream() bool { return false }
