package service

import (
	"bytes"
	"math"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// simpleDepth is how deeply a request may be nested that decodeSimple takes.
	simpleDepth = 16
	// simpleFields is how many fields a message of one may have, so that those that were there fit into a word.
	simpleFields = 64
)

// decodeSimple decodes what most requests are, in a quarter of the time that protobuf takes: strings of printable ASCII without
// escapes, whole numbers, booleans, and messages and lists of them. It decides nothing: it returns false for whatever else it
// meets, right or wrong, and then m is not to be used and protobuf has the say. Where it returns true, protobuf would have
// decoded the same (FuzzDecodeJSON).
func decodeSimple(data []byte, m protoreflect.Message) bool {
	d := simpleDecoder{data: data}
	return d.message(m, simpleDepth) && d.next() == 0 && d.at == len(d.data)
}

type simpleDecoder struct {
	data []byte
	at   int
}

// next skips white space and returns the byte that follows, which is not consumed; 0 at the end.
func (d *simpleDecoder) next() byte {
	for ; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// is consumes the next byte if it is c.
func (d *simpleDecoder) is(c byte) bool {
	if d.next() != c {
		return false
	}
	d.at++
	return true
}

// message decodes an object.
func (d *simpleDecoder) message(m protoreflect.Message, depth int) bool {
	desc := m.Descriptor()
	fields := desc.Fields()
	if depth == 0 || fields.Len() > simpleFields || desc.RequiredNumbers().Len() > 0 ||
		desc.FullName().Parent() == "google.protobuf" || !d.is('{') {
		return false
	}
	if d.is('}') {
		return true
	}
	for seen := uint64(0); ; {
		name, ok := d.text()
		if !ok || !d.is(':') {
			return false
		}
		field := fields.ByJSONName(name)
		if field == nil {
			field = fields.ByTextName(name)
		}
		if field == nil || field.IsMap() || field.ContainingOneof() != nil {
			return false
		}
		bit := uint64(1) << field.Index()
		if seen&bit != 0 {
			return false
		}
		seen |= bit
		if field.IsList() {
			ok = d.list(m, field, depth)
		} else {
			ok = d.field(m, field, depth)
		}
		switch {
		case !ok:
			return false
		case d.is('}'):
			return true
		case !d.is(','):
			return false
		}
	}
}

func (d *simpleDecoder) field(m protoreflect.Message, field protoreflect.FieldDescriptor, depth int) bool {
	if field.Message() != nil {
		value := m.NewField(field)
		if !d.message(value.Message(), depth-1) {
			return false
		}
		m.Set(field, value)
		return true
	}
	value, ok := d.scalar(field.Kind())
	if ok {
		m.Set(field, value)
	}
	return ok
}

func (d *simpleDecoder) list(m protoreflect.Message, field protoreflect.FieldDescriptor, depth int) bool {
	if !d.is('[') {
		return false
	}
	if d.is(']') {
		return true
	}
	for list := m.Mutable(field).List(); ; {
		var value protoreflect.Value
		ok := false
		if field.Message() != nil {
			value = list.NewElement()
			ok = d.message(value.Message(), depth-1)
		} else {
			value, ok = d.scalar(field.Kind())
		}
		if !ok {
			return false
		}
		list.Append(value)
		switch {
		case d.is(']'):
			return true
		case !d.is(','):
			return false
		}
	}
}

func (d *simpleDecoder) scalar(kind protoreflect.Kind) (protoreflect.Value, bool) {
	switch kind {
	case protoreflect.StringKind:
		text, ok := d.text()
		return protoreflect.ValueOfString(text), ok
	case protoreflect.BoolKind:
		return d.boolean()
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, ok := d.number()
		return protoreflect.ValueOfInt32(int32(n)), ok && n >= math.MinInt32 && n <= math.MaxInt32
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, ok := d.number()
		return protoreflect.ValueOfInt64(n), ok
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, ok := d.number()
		return protoreflect.ValueOfUint32(uint32(n)), ok && n >= 0 && n <= math.MaxUint32
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, ok := d.number()
		return protoreflect.ValueOfUint64(uint64(n)), ok && n >= 0
	default:
		return protoreflect.Value{}, false
	}
}

// text decodes a string.
func (d *simpleDecoder) text() (string, bool) {
	if !d.is('"') {
		return "", false
	}
	long := bytes.IndexByte(d.data[d.at:], '"')
	if long < 0 {
		return "", false
	}
	text := d.data[d.at : d.at+long]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return "", false
		}
	}
	d.at += long + 1
	return string(text), true
}

func (d *simpleDecoder) boolean() (protoreflect.Value, bool) {
	d.next()
	for _, value := range []bool{false, true} {
		if word := strconv.FormatBool(value); bytes.HasPrefix(d.data[d.at:], []byte(word)) {
			d.at += len(word) // what follows has to be a comma or the end of something
			return protoreflect.ValueOfBool(value), true
		}
	}
	return protoreflect.Value{}, false
}

// number decodes a whole number of a few digits, as they are mostly written.
func (d *simpleDecoder) number() (int64, bool) {
	negative := d.is('-')
	begin, n := d.at, int64(0)
	for ; d.at < len(d.data) && isDigit(d.data[d.at]); d.at++ {
		n = 10*n + int64(d.data[d.at]-'0')
	}
	digits := d.at - begin
	if digits == 0 || digits > 18 || d.data[begin] == '0' && (digits > 1 || negative) {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
