package service

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unsafe"

	microauth "github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/codec"
	"github.com/micro/micro/v3/util/codec/bytes"
)

// unary is a method of a handler that takes one message and gives one. Micro's server would call it as well, after it had
// copied what came with the call twice more and encoded the message once more: a seventh of what a call costs.
type unary struct {
	call     server.HandlerFunc
	in, out  reflect.Type        // what the pointers that the method takes point to
	resource *microauth.Resource // what rules of the platform are about
}

// unaryOf finds a method of a handler; nil if it is not one that can be called like this.
func unaryOf(handler any, service, endpoint string) *unary {
	_, name, _ := strings.Cut(endpoint, ".")
	receiver := reflect.ValueOf(handler)
	m, ok := receiver.Type().MethodByName(name)
	if !ok || receiver.Kind() != reflect.Pointer || !isUnary(m.Func.Type()) {
		return nil
	}
	in, out := m.Func.Type().In(2), m.Func.Type().In(3)
	f := reflect.New(m.Func.Type())
	f.Elem().Set(m.Func)
	// A function of pointers is called the same way whatever they point to, and isUnary has seen that it is one.
	call, on := *(*unaryFunc)(f.UnsafePointer()), receiver.UnsafePointer()
	return &unary{
		in: in.Elem(), out: out.Elem(),
		resource: &microauth.Resource{Type: resourceType, Name: service, Endpoint: endpoint},
		call: func(ctx context.Context, req server.Request, rsp any) error {
			request, response := reflect.ValueOf(req.Body()), reflect.ValueOf(rsp)
			if request.Type() != in || response.Type() != out { // a wrapper has put something else there
				return fmt.Errorf("%s: a request of type %T and a response of type %T", endpoint, req.Body(), rsp)
			}
			return call(on, ctx, request.UnsafePointer(), response.UnsafePointer())
		},
	}
}

// unaryFunc is a method of a handler as any of them is called. Go's reflection would take a microsecond for each call, which
// is as long as it takes to find out who makes it.
type unaryFunc func(receiver unsafe.Pointer, ctx context.Context, request, response unsafe.Pointer) error

// isUnary tells whether a function is a unaryFunc but for the types that its pointers point to.
func isUnary(f reflect.Type) bool {
	like := reflect.TypeFor[unaryFunc]()
	if f.NumIn() != like.NumIn() || f.NumOut() != like.NumOut() || f.IsVariadic() {
		return false
	}
	for i := range f.NumIn() {
		if f.In(i) != like.In(i) && (f.In(i).Kind() != reflect.Pointer || like.In(i).Kind() != reflect.UnsafePointer) {
			return false
		}
	}
	return f.Out(0) == like.Out(0)
}

// wrap puts wrappers around it, the first outermost, as Micro's server does.
func (u *unary) wrap(wrappers []server.HandlerWrapper) {
	for i := len(wrappers) - 1; i >= 0; i-- {
		u.call = wrappers[i](u.call)
	}
}

// unaryCall is one call. It is what wrappers see of it, too.
type unaryCall struct {
	*unary
	stream decodingStream
	body   any
}

// answer answers the call.
func (c *unaryCall) answer() error {
	c.body = reflect.New(c.in).Interface()
	if err := c.stream.RecvMsg(c.body); err != nil {
		return err
	}
	rsp := reflect.New(c.out).Interface()
	if err := c.call(&c.stream.ctx, c, rsp); err != nil {
		return err
	}
	if c.stream.format == jsonText {
		if text := encodeSimple(rsp); text != nil {
			return c.stream.SendMsg(&bytes.Frame{Data: text})
		}
	}
	return c.stream.SendMsg(rsp)
}

// Service implements server.Request.
func (c *unaryCall) Service() string { return c.resource.Name }

// Method implements server.Request.
func (c *unaryCall) Method() string { return c.resource.Endpoint }

// Endpoint implements server.Request.
func (c *unaryCall) Endpoint() string { return c.resource.Endpoint }

// ContentType implements server.Request.
func (c *unaryCall) ContentType() string { return c.Header()["content-type"] }

// Header implements server.Request.
func (c *unaryCall) Header() map[string]string { return c.stream.ctx.metadata() }

// Body implements server.Request.
func (c *unaryCall) Body() any { return c.body }

// Read implements server.Request: the message has been decoded, and there is no other.
func (c *unaryCall) Read() ([]byte, error) { return nil, io.EOF }

// Codec implements server.Request.
func (c *unaryCall) Codec() codec.Reader { return nil }

// Stream implements server.Request.
func (c *unaryCall) Stream() bool { return false }
