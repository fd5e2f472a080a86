package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/m3o/backend/pkg/internal/testproto"
)

// image is a set with a file that calls itself otherwise, and everything that it imports.
func image(t *testing.T, keep ...string) []byte {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		for i := range f.Imports().Len() {
			if dependency := f.Imports().Get(i); !seen[dependency.Path()] {
				seen[dependency.Path()] = true
				add(dependency.FileDescriptor)
			}
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(testproto.File_pkg_internal_testproto_testproto_proto)
	file := set.File[len(set.File)-1]
	file.Name = proto.String("shaper/proto/shaper.proto")
	var services []*descriptorpb.ServiceDescriptorProto
	for _, s := range file.Service {
		if slices.Contains(keep, s.GetName()) {
			services = append(services, s)
		}
	}
	file.Service = services
	b, err := proto.Marshal(set)
	require.NoError(t, err)
	return b
}

func TestTable(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "README.md")
	require.NoError(t, os.WriteFile(name, []byte("before\n\n"+begin+"whatever\n"+end+"after\n"+beginCore+end), 0o600))
	want := "before\n\n" + begin + `
| RPC | for | whose, by | only an admin gives | and for the services | over HTTP |
|---|---|---|---|---|---|
| ` + "`servicetest.Guarded.Feed` | the customer, admins | `id` |  |  | yes |" + `
| ` + "`servicetest.Guarded.Manage` | admins |  |  | `trusted`, `gateway` | no |" + `
| ` + "`servicetest.Guarded.Own` | the customer, admins | `owner.id` | `email`, `owner.numbers` | `trusted` | yes |" + `
| ` + "`servicetest.Guarded.Sell` | the gateway |  |  |  | no |" + `
| ` + "`servicetest.Pipes.Flow` | everybody |  |  |  | yes |" + `

` + end + "after\n" + beginCore
	for range 2 {
		require.NoError(t, run(bytes.NewReader(image(t, "Guarded", "Pipes")), name))
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		services, core, _ := strings.Cut(string(got), want)
		require.Empty(t, services)
		require.Contains(t, core, "| `auth.Auth.Generate` | admins | `signup`, `customers` |  |\n")
		require.Contains(t, core, "| `registry.Registry.Register` | services, admins, sold ones too |  | name: the name of the service itself; options.domain: micro |\n")
		require.True(t, strings.HasSuffix(core, end))
	}
	require.ErrorContains(t, run(bytes.NewReader(image(t, "Careless")), name), "servicetest.Careless.Forgotten: missing: say who may call it")
	require.ErrorContains(t, run(bytes.NewReader(nil), name), "there is no RPC")
	require.ErrorContains(t, run(bytes.NewReader([]byte("x")), name), "parse the descriptors")
	require.NoError(t, os.WriteFile(name, []byte("no comments"), 0o600))
	require.ErrorContains(t, run(bytes.NewReader(image(t, "Pipes")), name), "the comments are missing")
}
