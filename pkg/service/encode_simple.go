package service

import (
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/service/direct"
)

// simpleSize is how many bytes an answer of encodeSimple may have, so that little has been done in vain where it gives up.
const simpleSize = 16 << 10

// encodeSimple encodes what most answers are, in JSON and to the byte as Micro's codec does (TestSimpleAnswers): messages and
// lists of printable ASCII, whole numbers and booleans. It returns nil for whatever has anything else, which is the codec's.
func encodeSimple(v any) []byte {
	m := direct.MessageOf(v)
	if m == nil {
		return nil
	}
	e := simpleEncoder{to: make([]byte, 0, 256)}
	if !e.message(m.ProtoReflect(), simpleDepth) {
		return nil
	}
	return e.to
}

type simpleEncoder struct{ to []byte }

func (e *simpleEncoder) message(m protoreflect.Message, depth int) bool {
	desc := m.Descriptor()
	if depth == 0 || desc.RequiredNumbers().Len() > 0 || desc.ExtensionRanges().Len() > 0 || desc.FullName().Parent() == "google.protobuf" {
		return false
	}
	e.to = append(e.to, '{')
	fields := desc.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if i > 0 {
			e.to = append(e.to, ',')
		}
		if field.IsMap() || field.ContainingOneof() != nil {
			return false
		}
		e.to = append(append(append(e.to, '"'), field.Name()...), `":`...)
		if field.IsList() {
			if !e.list(m.Get(field).List(), field, depth) {
				return false
			}
			continue
		}
		if field.Message() != nil && !m.Has(field) {
			e.to = append(e.to, "null"...)
			continue
		}
		if !e.value(m.Get(field), field, depth) {
			return false
		}
	}
	e.to = append(e.to, '}')
	return true
}

func (e *simpleEncoder) list(list protoreflect.List, field protoreflect.FieldDescriptor, depth int) bool {
	e.to = append(e.to, '[')
	for i := range list.Len() {
		if i > 0 {
			e.to = append(e.to, ',')
		}
		if !e.value(list.Get(i), field, depth) {
			return false
		}
	}
	e.to = append(e.to, ']')
	return true
}

func (e *simpleEncoder) value(v protoreflect.Value, field protoreflect.FieldDescriptor, depth int) bool {
	if len(e.to) > simpleSize {
		return false
	}
	switch field.Kind() {
	case protoreflect.MessageKind:
		return e.message(v.Message(), depth-1)
	case protoreflect.StringKind:
		return e.text(v.String())
	case protoreflect.BoolKind:
		e.to = strconv.AppendBool(e.to, v.Bool())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		e.to = strconv.AppendInt(e.to, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		e.to = strconv.AppendUint(e.to, v.Uint(), 10)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		e.to = append(strconv.AppendInt(append(e.to, '"'), v.Int(), 10), '"')
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		e.to = append(strconv.AppendUint(append(e.to, '"'), v.Uint(), 10), '"')
	default:
		return false
	}
	return true
}

// text encodes a string that has nothing in it that the codec escapes.
func (e *simpleEncoder) text(s string) bool {
	if len(s) >= simpleSize {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	e.to = append(append(append(e.to, '"'), s...), '"')
	return true
}
