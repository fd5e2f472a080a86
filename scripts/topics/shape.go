package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

// shape checks that each topic has what is relied on.
func shape(sources fs.FS, now files) ([]string, error) {
	topics, err := fs.ReadDir(sources, root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var wrong []string
	for _, dir := range topics {
		if !dir.IsDir() {
			wrong = append(wrong, path.Join(root, dir.Name())+": only directories of topics belong here")
			continue
		}
		wrong = append(wrong, shapeOfConstants(sources, dir.Name())...)
		wrong = append(wrong, shapeOfProto(dir.Name(), now)...)
	}
	return wrong, nil
}

// shapeOfConstants checks constants.go.
func shapeOfConstants(sources fs.FS, topic string) []string {
	name := path.Join(root, topic, "constants.go")
	text, err := fs.ReadFile(sources, name)
	if err != nil {
		return []string{name + ": missing: it has to have const Topic = " + strconv.Quote(topic)}
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return []string{name + ": no Go: " + err.Error()}
	}
	if value, ok := constant(file, "Topic"); !ok || value != topic {
		return []string{name + ": it has to have const Topic = " + strconv.Quote(topic)}
	}
	return nil
}

// constant returns the text that a constant of the file is.
func constant(file *ast.File, name string) (string, bool) {
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, s := range group.Specs {
			spec, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for i, id := range spec.Names {
				if id.Name != name || i >= len(spec.Values) {
					continue
				}
				literal, ok := spec.Values[i].(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return "", false
				}
				value, err := strconv.Unquote(literal.Value)
				return value, err == nil
			}
		}
	}
	return "", false
}

// shapeOfProto checks events.proto.
func shapeOfProto(topic string, now files) []string {
	name := path.Join(root, topic, "events.proto")
	f := now[name]
	if f == nil {
		return []string{name + ": missing: it has to have enum EventType and message Event"}
	}
	var wrong []string
	want := topic + "events"
	if f.GetPackage() != want {
		wrong = append(wrong, fmt.Sprintf("%s: package %s has to be %s", name, f.GetPackage(), want))
	}
	if !strings.HasSuffix(f.GetOptions().GetGoPackage(), ";"+want) {
		wrong = append(wrong, fmt.Sprintf("%s: go_package has to end with ;%s", name, want))
	}
	var types *descriptorpb.EnumDescriptorProto
	for _, e := range f.EnumType {
		if e.GetName() == "EventType" {
			types = e
		}
	}
	wrong = append(wrong, shapeOfTypes(name, types)...)
	for _, m := range f.MessageType {
		if m.GetName() == "Event" {
			return append(wrong, shapeOfEvent(name, f.GetPackage(), m)...)
		}
	}
	return append(wrong, name+": there has to be a message Event")
}

func shapeOfTypes(name string, types *descriptorpb.EnumDescriptorProto) []string {
	if types == nil {
		return []string{name + ": there has to be an enum EventType"}
	}
	var wrong []string
	for _, v := range types.Value {
		if v.GetNumber() == 0 && v.GetName() != "EventTypeUnknown" {
			wrong = append(wrong, fmt.Sprintf("%s: value 0 of EventType is %s and has to be EventTypeUnknown", name, v.GetName()))
		}
		if !strings.HasPrefix(v.GetName(), "EventType") {
			wrong = append(wrong, fmt.Sprintf("%s: %s of EventType has to begin with EventType", name, v.GetName()))
		}
	}
	if types.GetOptions().GetAllowAlias() {
		wrong = append(wrong, name+": a value of EventType has one name")
	}
	return wrong
}

func shapeOfEvent(name, pkg string, event *descriptorpb.DescriptorProto) []string {
	want := "." + pkg + ".EventType"
	for _, f := range event.Field {
		if f.GetName() == "type" && f.GetNumber() == 1 && typeName(f) == want && !f.GetProto3Optional() && f.OneofIndex == nil {
			return nil
		}
	}
	return []string{name + ": message Event has to have EventType type = 1"}
}
