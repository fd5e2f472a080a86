package service

import (
	"context"
	"io"
	"reflect"
	"strings"

	microauth "github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/codec"
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
	f := reflect.ValueOf(handler).MethodByName(name)
	if !f.IsValid() || f.Type().NumIn() != 3 || f.Type().In(1).Kind() != reflect.Pointer || f.Type().In(2).Kind() != reflect.Pointer {
		return nil
	}
	return &unary{
		in: f.Type().In(1).Elem(), out: f.Type().In(2).Elem(),
		resource: &microauth.Resource{Type: resourceType, Name: service, Endpoint: endpoint},
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
