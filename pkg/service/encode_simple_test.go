package service

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	pb "github.com/m3o/backend/pkg/internal/testproto"
)

// encodeAsMicro encodes with the codec that Micro's server has registered.
func encodeAsMicro(t require.TestingT, m proto.Message) string {
	text, err := encoding.GetCodec("json").Marshal(protoadapt.MessageV1Of(m))
	require.NoError(t, err)
	return string(text)
}

// everything is a message with a field and a list of each sort of scalar but bytes, and of itself.
func everything(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	m := &descriptorpb.DescriptorProto{Name: proto.String("Everything")}
	for sort := descriptorpb.FieldDescriptorProto_TYPE_INT64; sort <= descriptorpb.FieldDescriptorProto_TYPE_SINT64; sort++ {
		switch sort {
		case descriptorpb.FieldDescriptorProto_TYPE_GROUP, descriptorpb.FieldDescriptorProto_TYPE_BYTES,
			descriptorpb.FieldDescriptorProto_TYPE_ENUM:
			continue
		default:
		}
		for _, label := range []descriptorpb.FieldDescriptorProto_Label{
			descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED,
		} {
			field := &descriptorpb.FieldDescriptorProto{
				Name: proto.String(fmt.Sprintf("a_%d_%d", sort, label)), Number: proto.Int32(int32(len(m.Field)) + 1),
				Type: sort.Enum(), Label: label.Enum(),
			}
			if sort == descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
				field.TypeName = proto.String(".simple.Everything")
			}
			m.Field = append(m.Field, field)
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("simple.proto"), Package: proto.String("simple"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{m},
	}, new(protoregistry.Files))
	require.NoError(t, err)
	return file.Messages().Get(0)
}

func drawMessage(t *rapid.T, desc protoreflect.MessageDescriptor, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(desc)
	for i := range desc.Fields().Len() {
		field := desc.Fields().Get(i)
		for range rapid.IntRange(0, 2).Draw(t, "values") {
			value, ok := drawValue(t, field, depth)
			switch {
			case !ok:
			case field.IsList():
				m.Mutable(field).List().Append(value)
			default:
				m.Set(field, value)
			}
		}
	}
	return m
}

func drawValue(t *rapid.T, field protoreflect.FieldDescriptor, depth int) (protoreflect.Value, bool) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		if depth == 0 {
			return protoreflect.Value{}, false
		}
		return protoreflect.ValueOfMessage(drawMessage(t, field.Message(), depth-1)), true
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.StringMatching(`[a-z @.'/]{0,6}[<é"\\]?`).Draw(t, "text")), true
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "flag")), true
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "number")), true
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "number")), true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "number")), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "number")), true
	default:
		return protoreflect.Value{}, false
	}
}

// Answers are either left to Micro's codec, or have the same bytes.
func TestSimpleAnswers(t *testing.T) {
	t.Parallel()
	desc, taken := everything(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMessage(rt, desc, 1)
		if text := encodeSimple(m); text != nil {
			taken++
			require.Equal(rt, encodeAsMicro(rt, m), string(text))
		}
	})
	require.NotZero(t, taken)
	for _, m := range []proto.Message{
		new(pb.OwnResponse), new(pb.FailResponse), &pb.OwnRequest{Owner: &pb.Owner{Numbers: []int32{1, -2}}},
		&pb.OwnResponse{Id: "01890a5d-ac96-774b-bcce-b302099a8057", Kind: "service", Caller: "trusted-latest"},
	} {
		require.Equal(t, encodeAsMicro(t, m), string(encodeSimple(m)))
	}
	for name, other := range map[string]any{
		"a type of protobuf's own": structpb.NewBoolValue(true), "maps and oneofs": new(pb.Shape), "no message": "text",
		"escapes": &pb.OwnResponse{Id: "<"}, "beyond ASCII": &pb.OwnResponse{Id: "ä"}, "long": &pb.OwnResponse{Id: strings.Repeat("x", simpleSize)},
	} {
		require.Nil(t, encodeSimple(other), name)
	}
}
