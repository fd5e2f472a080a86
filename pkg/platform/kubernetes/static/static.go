// Package static knows binaries that need nothing of a file system: an image, and a pod that fetches its binary, has none of
// the libraries of the machine that it was built on.
package static

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
)

// Tags and Flags are what `go build` makes such a binary with on Linux. SQLite is C, so that the C library is linked as well:
// its own resolver of names and users, which would load libraries when it runs, is left to Go's, and so are SQLite's extensions.
const (
	Tags  = "netgo,osusergo,sqlite_omit_load_extension"
	Flags = "-s -w -linkmode external -extldflags=-static"
)

// machines are those of the architectures that Go knows by these names.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Check returns an error that says in one sentence why a file is not such a binary, for the architecture of this process.
func Check(file string) error {
	f, err := elf.Open(file)
	if unreadable, ok := errors.AsType[*fs.PathError](err); ok {
		return unreadable
	}
	if err != nil {
		return errors.New("it is not a binary of Linux")
	}
	defer f.Close() //nolint:errcheck // it was only read
	if want, ok := machines[runtime.GOARCH]; ok && f.Machine != want {
		return fmt.Errorf("it is not for %s", runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return errors.New("it is linked dynamically, and where it is to run there is nothing to link it with")
		}
	}
	return nil
}
