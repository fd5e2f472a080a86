package service

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/errors"
)

// wire says what is wrong with binary protobuf that is not taken for a message of m's type: it is either no protobuf at
// all, or a string in it is not UTF-8.
func (e *explainer) wire(data []byte, m protoreflect.Message, path string) *errors.Error {
	counts := make(map[protowire.Number]int)
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return invalid(path, "not valid protobuf")
		}
		size := protowire.ConsumeFieldValue(num, typ, data[n:])
		if size < 0 {
			return invalid(path, "not valid protobuf")
		}
		piece, value := data[:n+size], data[n:n+size]
		data = data[n+size:]
		if !e.afford(len(piece)) {
			return invalid(path, "not valid, and too large to say where")
		}
		index := counts[num]
		counts[num]++
		fd := m.Descriptor().Fields().ByNumber(num)
		if fd == nil || lenientWire.Unmarshal(piece, m.New().Interface()) == nil {
			continue
		}
		at := join(path, string(fd.Name()))
		if fd.IsList() {
			at = fmt.Sprintf("%s[%d]", at, index)
		}
		if isMessage(fd) && !fd.IsMap() && typ == protowire.BytesType {
			if inner, n := protowire.ConsumeBytes(value); n >= 0 {
				return e.wire(inner, part(m, fd), at)
			}
		}
		if fd.Kind() == protoreflect.StringKind || fd.IsMap() {
			return invalid(at, "expected valid UTF-8")
		}
		return invalid(at, "not valid protobuf")
	}
	return invalid(path, "not valid, or nested more than %d levels deep", maxDepth)
}

// part returns an empty message of the type of the field fd.
func part(m protoreflect.Message, fd protoreflect.FieldDescriptor) protoreflect.Message {
	if fd.IsList() {
		return m.NewField(fd).List().NewElement().Message()
	}
	return m.NewField(fd).Message()
}
