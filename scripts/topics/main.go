// Topics checks the topics of events, each of which is a directory below pkg/events/proto: that it has what pkg/events and
// every consumer rely on, and that nothing of it is gone or has changed since another commit. It reads the sources in a
// directory, and what they were compiled to, as buf builds it:
//
//	buf build -o now.binpb
//	topics [-before before.binpb] . now.binpb
//
// It is a program, and no rule of buf's, because buf knows neither Go files nor what a topic is, and takes a value or a field
// for gone in order when its number and name are reserved: an event may be in a stream or an inbox still.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// root is where topics are.
const root = "pkg/events/proto"

func main() {
	before := flag.String("before", "", "what must still be there: an image of the other commit; nothing if not said")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: topics [-before image] directory image")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	wrong, err := run(os.DirFS(flag.Arg(0)), flag.Arg(1), *before)
	if err != nil {
		fmt.Fprintln(os.Stderr, "topics:", err)
		os.Exit(1)
	}
	for _, line := range wrong {
		fmt.Fprintln(os.Stderr, line)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

// run returns one sentence for each thing that is wrong.
func run(sources fs.FS, image, before string) ([]string, error) {
	now, err := read(image)
	if err != nil {
		return nil, err
	}
	wrong, err := shape(sources, now)
	if err != nil || before == "" {
		return wrong, err
	}
	then, err := read(before)
	if err != nil {
		return nil, err
	}
	return append(wrong, kept(then, now)...), nil
}

// files are what protos were compiled to, by their paths.
type files map[string]*descriptorpb.FileDescriptorProto

func read(name string) (files, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("%s: not what buf builds: %w", name, err)
	}
	return byPath(set.File), nil
}

func byPath(list []*descriptorpb.FileDescriptorProto) files {
	found := make(files)
	for _, f := range list {
		found[f.GetName()] = f
	}
	return found
}

// typeName says what a field is, as in a proto.
func typeName(f *descriptorpb.FieldDescriptorProto) string {
	name := cmp.Or(f.GetTypeName(), f.GetType().String())
	if f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED {
		name = "repeated " + name
	}
	return name
}
