package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/m3o/backend/pkg/errors"
)

// aName is what an unknown field has to look like to be named in an error.
var aName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// explainJSON says what is wrong with JSON text that protojson does not take for a message of msg's type.
func explainJSON(data []byte, msg proto.Message) *errors.Error {
	if !json.Valid(data) {
		return invalid("", "not valid JSON")
	}
	if deeper(data, maxDepth) {
		return invalid("", "nested more than %d levels deep", maxDepth)
	}
	return newExplainer(maxExplained).object(data, msg.ProtoReflect(), "")
}

// deeper says whether valid JSON is nested more than limit levels deep.
func deeper(data []byte, limit int) bool {
	depth, quoted, escaped := 0, false, false
	for _, c := range data {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// object explains the JSON of a message of m's type.
func (e *explainer) object(raw []byte, m protoreflect.Message, path string) *errors.Error {
	if want, ok := wellKnown[m.Descriptor().FullName()]; ok {
		return invalid(path, "expected %s", want)
	}
	members, ok := membersOf(raw)
	if !ok {
		return invalid(path, "expected an object")
	}
	fields := m.Descriptor().Fields()
	given := make(map[protoreflect.FieldNumber]bool)
	chosen := make(map[protoreflect.FullName]protoreflect.Name)
	for _, member := range members {
		fd := fields.ByJSONName(member.name)
		if fd == nil {
			fd = fields.ByTextName(member.name)
		}
		if fd == nil {
			if aName.MatchString(member.name) {
				return invalid(path, "unknown field %q", member.name)
			}
			return invalid(path, "unknown field")
		}
		at := join(path, string(fd.Name()))
		if given[fd.Number()] {
			return invalid(at, "given more than once")
		}
		given[fd.Number()] = true
		if isNull(member.value) {
			continue
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if other, ok := chosen[one.FullName()]; ok {
				return invalid(at, "must not be given together with %s", other)
			}
			chosen[one.FullName()] = fd.Name()
		}
		if !e.afford(len(member.value)) {
			return invalid(path, "not valid, and too large to say where")
		}
		if !accepts(m, fd, member.value) {
			return e.value(member.value, m, fd, at)
		}
	}
	return invalid(path, "not a valid %s", m.Descriptor().Name())
}

// value explains the JSON of the field fd of m's type.
func (e *explainer) value(raw []byte, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) *errors.Error {
	switch {
	case fd.IsMap():
		return e.entries(raw, m, fd, path)
	case fd.IsList():
		return e.elements(raw, m, fd, path)
	case isMessage(fd):
		return e.object(raw, m.NewField(fd).Message(), path)
	default:
		return invalid(path, "%s", expected(raw, fd))
	}
}

func (e *explainer) elements(raw []byte, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) *errors.Error {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return invalid(path, "expected a list")
	}
	for i, element := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !e.afford(len(element)) {
			break
		}
		switch {
		case accepts(m, fd, concat("[", element, "]")):
		case isMessage(fd):
			return e.object(element, m.NewField(fd).List().NewElement().Message(), at)
		default:
			return invalid(at, "%s", expected(element, fd))
		}
	}
	return invalid(path, "not a valid list")
}

// entries explains the JSON of a map. Keys are the caller's own words, so that the path ends with the map.
func (e *explainer) entries(raw []byte, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) *errors.Error {
	members, ok := membersOf(raw)
	if !ok {
		return invalid(path, "expected an object")
	}
	given := make(map[string]bool)
	for _, member := range members {
		if given[member.name] {
			return invalid(path, "a key is given more than once")
		}
		given[member.name] = true
		if !e.afford(len(member.key) + len(member.value)) {
			break
		}
		switch {
		case accepts(m, fd, concat("{", member.key, ":", member.value, "}")):
		case !utf8.Valid(member.key):
			return invalid(path, "each key: expected valid UTF-8")
		case isMessage(fd.MapValue()):
			return e.object(member.value, m.NewField(fd).Map().NewValue().Message(), path)
		case fd.MapKey().Kind() != protoreflect.StringKind && !acceptsKey(m, fd, member.key):
			return invalid(path, "each key: %s", expected(member.key, fd.MapKey()))
		default:
			return invalid(path, "each value: %s", expected(member.value, fd.MapValue()))
		}
	}
	return invalid(path, "not a valid map")
}

// accepts says whether protojson takes raw for the field fd of a message of m's type.
func accepts(m protoreflect.Message, fd protoreflect.FieldDescriptor, raw []byte) bool {
	name, err := json.Marshal(fd.JSONName())
	return err == nil && strictJSON.Unmarshal(concat("{", name, ":", raw, "}"), m.New().Interface()) == nil
}

// acceptsKey says whether protojson takes the key of a map, by trying it with a value of each sort: when it takes none of
// them, the key is what it does not take.
func acceptsKey(m protoreflect.Message, fd protoreflect.FieldDescriptor, key []byte) bool {
	for _, value := range []string{`""`, `0`, `false`, `{}`, `[]`} {
		if accepts(m, fd, concat("{", key, ":", value, "}")) {
			return true
		}
	}
	return false
}

func concat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case json.RawMessage:
			b = append(b, p...)
		}
	}
	return b
}

// member is one name and value of a JSON object; key is the name as it was written, quotes included.
type member struct {
	name  string
	key   []byte
	value json.RawMessage
}

// membersOf returns the members of a JSON object in their order, doubles included; false when raw is no object.
func membersOf(raw []byte) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var members []member
	for d.More() {
		before := d.InputOffset()
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, false
		}
		key := raw[before:d.InputOffset()]
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		members = append(members, member{name, key[max(bytes.IndexByte(key, '"'), 0):], value})
	}
	return members, true
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

func isMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Kind() == protoreflect.MessageKind || fd.Kind() == protoreflect.GroupKind
}
