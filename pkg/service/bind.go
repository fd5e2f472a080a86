package service

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/micro/micro/v3/service/server"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/m3o/backend/pkg/service/direct"
)

var microStream = reflect.TypeFor[server.Stream]()

// serviceOf finds the proto service that a handler implements and checks that it does: the same methods, with the same
// messages.
func serviceOf(handler any) (protoreflect.ServiceDescriptor, error) {
	t := reflect.TypeOf(handler)
	name := reflect.Indirect(reflect.ValueOf(handler)).Type().Name()
	desc := findService(t, protoreflect.Name(name))
	if desc == nil {
		return nil, fmt.Errorf("no proto service of that name goes with its messages")
	}
	for i := range desc.Methods().Len() {
		m := desc.Methods().Get(i)
		f, ok := t.MethodByName(string(m.Name()))
		if !ok {
			return nil, fmt.Errorf("method %s of proto service %s is missing", m.Name(), desc.FullName())
		}
		if err := check(f, m); err != nil {
			return nil, fmt.Errorf("method %s of proto service %s: %w", m.Name(), desc.FullName(), err)
		}
	}
	// Micro would serve it, and nothing would be known of it: neither its messages nor who may call it.
	for i := range t.NumMethod() {
		f := t.Method(i)
		if desc.Methods().ByName(protoreflect.Name(f.Name)) == nil && (f.Type.NumIn() == 3 || f.Type.NumIn() == 4) {
			return nil, fmt.Errorf("method %s is not in proto service %s", f.Name, desc.FullName())
		}
	}
	return desc, nil
}

// findService looks the service up in the proto package of the messages of the handler's methods. A handler that only
// streams has none in its methods; its type then comes from generated code, whose package the proto file names.
func findService(t reflect.Type, name protoreflect.Name) protoreflect.ServiceDescriptor {
	for i := range t.NumMethod() {
		in := t.Method(i).Type
		if in.NumIn() != 4 {
			continue
		}
		// A message may be of another package (google.protobuf.Empty), so that the next method may know better.
		if m := typeOf(in.In(2)); m != nil {
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(m.ParentFile().Package().Append(name))
			if s, ok := d.(protoreflect.ServiceDescriptor); ok && err == nil {
				return s
			}
		}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var found protoreflect.ServiceDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		opts, ok := f.Options().(*descriptorpb.FileOptions)
		pkg, _, _ := strings.Cut(opts.GetGoPackage(), ";")
		if ok && pkg == t.PkgPath() {
			found = f.Services().ByName(name)
		}
		return found == nil
	})
	return found
}

// check compares the types of a handler's method with those of the proto method.
func check(f reflect.Method, m protoreflect.MethodDescriptor) error {
	streams := m.IsStreamingClient() || m.IsStreamingServer()
	if streams {
		if f.Type.NumIn() != 3 || !f.Type.In(2).Implements(microStream) {
			return fmt.Errorf("expected func(context.Context, server.Stream) error")
		}
		return nil
	}
	if f.Type.NumIn() != 4 || !is(f.Type.In(2), m.Input()) || !is(f.Type.In(3), m.Output()) {
		return fmt.Errorf("expected func(context.Context, *%s, *%s) error", m.Input().Name(), m.Output().Name())
	}
	return nil
}

func is(t reflect.Type, want protoreflect.MessageDescriptor) bool {
	d := typeOf(t)
	// By name, because the descriptor of an old message is not the one that is registered.
	return d != nil && d.FullName() == want.FullName()
}

// typeOf returns the descriptor of a proto message's Go type; nil if it is none. One of Micro's own methods takes its
// message by value.
func typeOf(t reflect.Type) protoreflect.MessageDescriptor {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if m := direct.MessageOf(reflect.New(t).Interface()); m != nil {
		return m.ProtoReflect().Descriptor()
	}
	return nil
}
