package direct

import (
	"encoding/json"
	"fmt"

	"github.com/micro/micro/v3/util/codec/bytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// MaxMessage is how many bytes a message may have, either way.
const MaxMessage = 32 << 20

// encoding is how the messages of a call are written.
type encoding struct {
	name      string
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
	// options are those of each call, made once.
	options []grpc.CallOption
}

var (
	protobufEncoding = newEncoding("proto", marshalProto, unmarshalProto)
	jsonEncoding     = newEncoding("json", marshalJSON, unmarshalJSON)

	// encodings are by what Micro calls them. On the wire there are two: application/grpc+proto and +json.
	encodings = map[string]*encoding{
		"application/grpc":         protobufEncoding,
		"application/grpc+proto":   protobufEncoding,
		"application/proto":        protobufEncoding,
		"application/protobuf":     protobufEncoding,
		"application/octet-stream": protobufEncoding,
		"application/grpc+json":    jsonEncoding,
		"application/json":         jsonEncoding,
		"multipart/form-data":      jsonEncoding,
	}

	toJSON   = protojson.MarshalOptions{}
	fromJSON = protojson.UnmarshalOptions{DiscardUnknown: true} // a newer service may answer more
)

func newEncoding(name string, marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) *encoding {
	e := &encoding{name: name, marshal: marshal, unmarshal: unmarshal}
	e.options = []grpc.CallOption{grpc.ForceCodecV2(wire{e})}
	return e
}

// encode writes a message. What is in a frame is taken as it is.
func (e *encoding) encode(v any) (*bytes.Frame, error) {
	if f, ok := v.(*bytes.Frame); ok {
		return f, nil
	}
	b, err := e.marshal(v)
	if err != nil {
		return nil, err
	}
	return &bytes.Frame{Data: b}, nil
}

// wire is the encoding as gRPC's codec. What it is given to send is encoded already: once, whatever number of nodes it
// takes, and by us, because gRPC's errors do not tell what is wrong with a message from what is wrong with a connection.
type wire struct{ *encoding }

// Name implements gRPC's codec: what follows application/grpc+ in the content type.
func (w wire) Name() string { return w.name }

// Marshal implements gRPC's codec.
func (w wire) Marshal(v any) (mem.BufferSlice, error) {
	f, err := w.encode(v)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(f.Data)}, nil
}

// Unmarshal implements gRPC's codec. The data is gRPC's again afterwards.
func (w wire) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *bytes.Frame:
		m.Data = data.Materialize()
		return nil
	case *json.RawMessage:
		if w.encoding == jsonEncoding {
			*m = data.Materialize()
			return nil
		}
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return w.unmarshal(b.ReadOnlyData(), v)
}

func marshalProto(v any) ([]byte, error) {
	m := MessageOf(v)
	if m == nil {
		return nil, fmt.Errorf("a %T is no proto message", v)
	}
	return proto.Marshal(m)
}

func unmarshalProto(b []byte, v any) error {
	m := MessageOf(v)
	if m == nil {
		return fmt.Errorf("a %T is no proto message", v)
	}
	return proto.Unmarshal(b, m)
}

func marshalJSON(v any) ([]byte, error) {
	switch raw := v.(type) {
	case json.RawMessage:
		return raw, nil
	case *json.RawMessage:
		return *raw, nil
	}
	if m := MessageOf(v); m != nil {
		return toJSON.Marshal(m)
	}
	return json.Marshal(v)
}

func unmarshalJSON(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	if m := MessageOf(v); m != nil {
		return fromJSON.Unmarshal(b, m)
	}
	return json.Unmarshal(b, v)
}

// MessageOf returns v as a message, nil if it is none. Micro's own are of the first Go API of protobuf.
func MessageOf(v any) proto.Message {
	switch m := v.(type) {
	case proto.Message:
		return m
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m)
	}
	return nil
}
