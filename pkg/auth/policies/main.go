// Policies writes the tables of who may call what into a Markdown file, each between two comments. It reads a set of file
// descriptors on standard input, as buf builds them, so that it knows every proto there is:
//
//	buf build -o - | policies pkg/auth/README.md
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	_ "github.com/micro/micro/v3/proto/auth" // the descriptors of Micro's own RPCs
	_ "github.com/micro/micro/v3/proto/broker"
	_ "github.com/micro/micro/v3/proto/config"
	_ "github.com/micro/micro/v3/proto/debug"
	_ "github.com/micro/micro/v3/proto/events"
	_ "github.com/micro/micro/v3/proto/registry"
	_ "github.com/micro/micro/v3/proto/runtime"
	_ "github.com/micro/micro/v3/proto/store"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/m3o/backend/pkg/auth"
	_ "github.com/m3o/backend/pkg/events/stream/proto" // of ours, those that stand beside them
)

// The comments between which the tables stand.
const (
	begin     = "<!-- The table is made from the protos by make generate. -->\n"
	beginCore = "<!-- The table is made from core.go by make generate. -->\n"
	end       = "<!-- End of the table. -->\n"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "policies: expected the name of one file")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "policies:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, name string) error {
	image, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the descriptors: %w", err)
	}
	table, err := tableOf(image)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name) //nolint:gosec // whoever runs the program names the file
	if err != nil {
		return err
	}
	coreTable, err := tableOfCore()
	if err != nil {
		return err
	}
	changed, err := insert(text, begin, table)
	if err == nil {
		changed, err = insert(changed, beginCore, coreTable)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if bytes.Equal(text, changed) {
		return nil
	}
	return os.WriteFile(name, changed, 0o644) //nolint:gosec // a file of the source
}

// tableOf makes the table of all RPCs but those of protos inside of pkg, which are for tests, and those of the other table.
func tableOf(image []byte) (string, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(image, &set); err != nil {
		return "", fmt.Errorf("parse the descriptors: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return "", fmt.Errorf("link the descriptors: %w", err)
	}
	var rows []string
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "pkg/internal/") {
			return true
		}
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				if slices.Contains(auth.CoreMethods(), methods.Get(j).FullName()) {
					continue
				}
				row, failure := rowOf(methods.Get(j))
				err = errors.Join(err, failure)
				rows = append(rows, row)
			}
		}
		return true
	})
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", errors.New("there is no RPC in the descriptors")
	}
	slices.Sort(rows)
	return "| RPC | for | whose, by | only an admin gives | and for the services | over HTTP |\n|---|---|---|---|---|---|\n" +
		strings.Join(rows, ""), nil
}

// tableOfCore makes the table of Micro's own RPCs.
func tableOfCore() (string, error) {
	var rows []string
	for _, name := range auth.CoreMethods() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		m, ok := d.(protoreflect.MethodDescriptor)
		if !ok {
			return "", fmt.Errorf("%s is no RPC", name)
		}
		p, err := auth.PolicyOf(m)
		if err != nil {
			return "", err
		}
		who := whoMay[p.Access]
		if p.Sold {
			who += ", sold ones too"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, who, code(p.Services), strings.Join(p.Bounds(), "; ")))
	}
	slices.Sort(rows)
	return "| RPC | for | and for the services | to a service, its own only |\n|---|---|---|---|\n" + strings.Join(rows, ""), nil
}

// whoMay says in words whom a policy lets through.
var whoMay = map[auth.Access]string{
	auth.ForPublic: "everybody", auth.ForCustomer: "the customer, admins", auth.ForAdmin: "admins", auth.ForGateway: "the gateway",
	auth.ForService: "services, admins", auth.ForAccount: "whoever has an account",
}

func rowOf(m protoreflect.MethodDescriptor) (string, error) {
	p, err := auth.PolicyOf(m)
	if err != nil {
		return "", err
	}
	http := "no"
	if p.Access.Outside() {
		http = "yes"
	}
	var id []string
	if p.IDField() != "" {
		id = []string{p.IDField()}
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", m.FullName(), whoMay[p.Access], code(id), code(p.AdminFields()), code(p.Services), http), nil
}

func code(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, "`"+name+"`")
	}
	return strings.Join(quoted, ", ")
}

// insert replaces what stands between the comments.
func insert(text []byte, begin, table string) ([]byte, error) {
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return nil, errors.New("the comments are missing between which the table stands")
	}
	return []byte(before + begin + "\n" + table + "\n" + end + after), nil
}
