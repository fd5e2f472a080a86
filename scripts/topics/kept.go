package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

// kept checks that what topics had is there as it was: values of enums by name and number, which travel, and fields by name,
// number and type. What is new does not matter.
func kept(before, now files) []string {
	var wrong []string
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if !strings.HasPrefix(path, root+"/") {
			continue
		}
		f := now[path]
		if f == nil {
			wrong = append(wrong, path+" is gone: events of the topic may be on their way still")
			continue
		}
		parts := partsOf(f)
		for name, then := range partsOf(before[path]) {
			part, ok := parts[name]
			if !ok {
				wrong = append(wrong, fmt.Sprintf("%s: %s is gone", path, name))
				continue
			}
			for number, was := range then {
				switch is, ok := part[number]; {
				case !ok:
					wrong = append(wrong, fmt.Sprintf("%s: number %d of %s is gone: it was %s", path, number, name, was))
				case is != was:
					wrong = append(wrong, fmt.Sprintf("%s: number %d of %s was %s and is %s now", path, number, name, was, is))
				}
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// part is a message's fields or an enum's values: what each number stands for.
type part map[int32]string

// partsOf are a file's messages and enums, those inside of messages included, by their names.
func partsOf(f *descriptorpb.FileDescriptorProto) map[string]part {
	found := make(map[string]part)
	enums := func(scope string, list []*descriptorpb.EnumDescriptorProto) {
		for _, e := range list {
			values := make(part)
			for _, v := range e.Value {
				values[v.GetNumber()] = v.GetName()
			}
			found["enum "+scope+e.GetName()] = values
		}
	}
	var messages func(scope string, list []*descriptorpb.DescriptorProto)
	messages = func(scope string, list []*descriptorpb.DescriptorProto) {
		for _, m := range list {
			fields := make(part)
			for _, f := range m.Field {
				fields[f.GetNumber()] = typeName(f) + " " + f.GetName() + jsonName(f)
			}
			found["message "+scope+m.GetName()] = fields
			enums(scope+m.GetName()+".", m.EnumType)
			messages(scope+m.GetName()+".", m.NestedType)
		}
	}
	enums("", f.EnumType)
	messages("", f.MessageType)
	return found
}

// jsonName is the other name that a field has in JSON, where it is not the one that follows from its name.
func jsonName(f *descriptorpb.FieldDescriptorProto) string {
	var usual strings.Builder
	upper := false
	for _, r := range f.GetName() {
		switch {
		case r == '_':
			upper = true
			continue
		case upper && 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		}
		upper = false
		usual.WriteRune(r)
	}
	if f.JsonName == nil || f.GetJsonName() == usual.String() {
		return ""
	}
	return " (in JSON " + f.GetJsonName() + ")"
}
