package service

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// wellKnown says what JSON is expected for the messages that protojson writes in a way of their own.
var wellKnown = map[protoreflect.FullName]string{
	"google.protobuf.Any":         "an object with @type",
	"google.protobuf.Timestamp":   "a time such as 2006-01-02T15:04:05Z",
	"google.protobuf.Duration":    "a duration such as 1.5s",
	"google.protobuf.FieldMask":   "names of fields in lowerCamelCase, separated by commas, in one string",
	"google.protobuf.Struct":      "an object",
	"google.protobuf.ListValue":   "a list",
	"google.protobuf.Value":       "any valid value",
	"google.protobuf.StringValue": "a string",
	"google.protobuf.BytesValue":  "bytes as base64 in a string",
	"google.protobuf.BoolValue":   "true or false",
	"google.protobuf.Int32Value":  "a whole number",
	"google.protobuf.Int64Value":  "a whole number",
	"google.protobuf.UInt32Value": "a whole number, zero or more",
	"google.protobuf.UInt64Value": "a whole number, zero or more",
	"google.protobuf.FloatValue":  "a number",
	"google.protobuf.DoubleValue": "a number",
}

// maxListed is how many values of an enumeration an error lists.
const maxListed = 20

// expected says what JSON is expected for a value of the kind of fd, given raw, which is not that.
func expected(raw []byte, fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		// A string that is refused is one that is no UTF-8, written as it is or by half of a surrogate pair.
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte{'"'}) || !utf8.Valid(raw) {
			return "expected valid UTF-8"
		}
		return "expected a string"
	case protoreflect.BytesKind:
		return "expected bytes as base64 in a string"
	case protoreflect.BoolKind:
		return "expected true or false"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return wholeNumber(math.MinInt32, math.MaxInt32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return wholeNumber(math.MinInt64, math.MaxInt64)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return wholeNumber(0, math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return wholeNumber(0, math.MaxUint64)
	case protoreflect.EnumKind:
		return "expected " + oneOf(fd.Enum())
	default:
		return "expected a number"
	}
}

func wholeNumber(lowest int64, highest uint64) string {
	return "expected a whole number from " + strconv.FormatInt(lowest, 10) + " to " + strconv.FormatUint(highest, 10)
}

func oneOf(enum protoreflect.EnumDescriptor) string {
	values := enum.Values()
	if values.Len() > maxListed {
		return "a value of " + string(enum.Name())
	}
	names := make([]string, values.Len())
	for i := range names {
		names[i] = string(values.Get(i).Name())
	}
	return "one of " + strings.Join(names, ", ")
}
