package direct

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// LevelKey is where an endpoint says in the registry that it may be repeated, for callers that do not know its proto. Its
// value is the name of the method's idempotency_level.
const LevelKey = "idempotency"

// Safe is the value for an endpoint that changes nothing, which the HTTP API may call with GET.
var Safe = descriptorpb.MethodOptions_NO_SIDE_EFFECTS.String()

// RawKey is where an endpoint says in the registry, with any value, that it takes HTTP as it is: its messages are Micro's
// api.Request and api.Response.
const RawKey = "raw"

// Raw tells whether a method takes HTTP as it is.
func Raw(m protoreflect.MethodDescriptor) bool {
	return m.Input().FullName() == "api.Request" && m.Output().FullName() == "api.Response" &&
		!m.IsStreamingClient() && !m.IsStreamingServer()
}

// Level returns what a method says of repeating it, as the registry has it: the name of its idempotency_level, empty if
// it says nothing, or streams: nobody can tell how much of a stream to repeat.
func Level(m protoreflect.MethodDescriptor) string {
	options, ok := m.Options().(*descriptorpb.MethodOptions)
	if !ok || m.IsStreamingClient() || m.IsStreamingServer() || options.GetIdempotencyLevel() == descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN {
		return ""
	}
	return options.GetIdempotencyLevel().String()
}

// repeatable tells whether a call may be made again that may have been carried out. Its endpoint has to say so, in its
// proto, or in the registry when that is not linked.
func repeatable(service, endpoint string, body any, levels map[string]string) bool {
	if m := methodOf(service, endpoint, body); m != nil {
		return Level(m) != ""
	}
	switch levels[endpoint] {
	case descriptorpb.MethodOptions_IDEMPOTENT.String(), Safe:
		return true
	}
	return false
}

// methodOf finds the method of an endpoint such as Customers.Create. Its proto package is that of the request, or what
// the service is called.
func methodOf(service, endpoint string, body any) protoreflect.MethodDescriptor {
	handler, method, ok := strings.Cut(endpoint, ".")
	if !ok {
		return nil
	}
	packages := []protoreflect.FullName{protoreflect.FullName(service)}
	if m := MessageOf(body); m != nil {
		packages = append(packages, m.ProtoReflect().Descriptor().ParentFile().Package())
	}
	for _, p := range packages {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(p.Append(protoreflect.Name(handler)))
		if s, ok := d.(protoreflect.ServiceDescriptor); ok && err == nil {
			if m := s.Methods().ByName(protoreflect.Name(method)); m != nil {
				return m
			}
		}
	}
	return nil
}
