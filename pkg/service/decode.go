package service

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/m3o/backend/pkg/errors"
)

const (
	// maxDepth is how deeply a request may be nested: far beyond what any message of ours is, far below what hurts.
	maxDepth = 100
	// maxExplained bounds the bytes that are parsed again to find out what is wrong with a request, all rounds
	// together, so that a wrong request cannot cost much more than a right one of its size.
	maxExplained = 16 << 20
)

var (
	strictJSON  = protojson.UnmarshalOptions{RecursionLimit: maxDepth}
	lenientWire = proto.UnmarshalOptions{RecursionLimit: maxDepth, DiscardUnknown: true}
)

// decode decodes data into msg, which has to be empty. It returns nil, or an error that names the field that is wrong,
// by its path in the names of the proto, and says what was expected there. The error contains nothing of data but the
// name of an unknown field.
func decode(data []byte, enc format, msg proto.Message) error {
	if enc == protobuf {
		if lenientWire.Unmarshal(data, msg) == nil {
			return nil
		}
		return newExplainer(maxExplained).wire(data, msg.ProtoReflect(), "")
	}
	// Micro's HTTP API sends null for a request without a body.
	if text := bytes.TrimSpace(data); len(text) == 0 || string(text) == "null" {
		return nil
	}
	if decodeSimple(data, msg.ProtoReflect()) {
		return nil
	}
	proto.Reset(msg)
	if strictJSON.Unmarshal(data, msg) == nil {
		return nil
	}
	return explainJSON(data, msg)
}

// explainer finds out why protobuf does not take a request. Protobuf's own errors cannot be used for it: their text
// changes on purpose, and they repeat what was sent. So the parts of the request are given to protobuf one by one,
// each alone in an empty message, until it refuses one that has no parts.
type explainer struct{ left int }

func newExplainer(budget int) *explainer { return &explainer{left: budget} }

// afford says whether n more bytes may be parsed.
func (e *explainer) afford(n int) bool {
	e.left -= n
	return e.left >= 0
}

// invalid makes the error. The path of the request as a whole is "body".
func invalid(path, format string, args ...any) *errors.Error {
	if path == "" {
		path = "body"
	}
	return errors.Invalid(path, format, args...)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
