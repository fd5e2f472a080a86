// Arrows checks that imports point the way the house says: main -> handler, subscriber -> service -> pkg; a domain
// imports another one only for its generated client; pkg imports no domain. It is a program, and not a depguard
// configuration, because depguard knows prefixes only: "another domain" and "its own proto" would need a section per
// domain, and a new domain would go unchecked until somebody wrote it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/m3o/backend"

type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func main() {
	// With the tags of every kind of test, so that their imports count too.
	list := exec.Command("go", "list", "-e", "-tags=long,platform,kubernetes", "-json=ImportPath,Imports,TestImports,XTestImports", "./...") //nolint:noctx // ends by itself
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows: go list:", err)
		os.Exit(1)
	}
	wrong, err := check(bytes.NewReader(out))
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(1)
	}
	for _, line := range wrong {
		fmt.Fprintln(os.Stderr, line)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

// check reads what go list prints and returns one sentence for each import that points the wrong way.
func check(r io.Reader) ([]string, error) {
	var wrong []string
	decoder := json.NewDecoder(r)
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return wrong, nil
		} else if err != nil {
			return nil, err
		}
		report := func(imports []string, test bool) {
			for _, imported := range imports {
				if reason := forbidden(p.ImportPath, imported, test); reason != "" {
					wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", short(p.ImportPath), short(imported), reason))
				}
			}
		}
		report(p.Imports, false)
		report(p.TestImports, true)
		report(p.XTestImports, true)
	}
}

// forbidden returns why a package may not import another, or nothing.
func forbidden(from, to string, test bool) string {
	fromTop, fromRoom, ok := split(from)
	if !ok {
		return ""
	}
	toTop, toRoom, ok := split(to)
	if !ok {
		return ""
	}

	if !test {
		if reason := testCode(from, to); reason != "" {
			return reason
		}
	}
	switch {
	case toTop == "pkg":
		return intoPkg(fromTop, toRoom)
	case toTop == "scripts":
		if fromTop != "scripts" {
			return "scripts are programs of the build"
		}
		return ""
	case fromTop == "pkg" && fromRoom != "gateway" && fromRoom != "acceptance" && fromRoom != "bench":
		return "pkg imports no domain, except pkg/gateway, pkg/acceptance and pkg/bench"
	case within(from, "pkg/bench/"+toTop): // which measures the domain itself
		return ""
	case fromTop != toTop:
		if toRoom != "proto" {
			return "another domain is reached by its generated client only (" + toTop + "/proto)"
		}
		return ""
	}
	return withinDomain(fromRoom, toRoom)
}

// within tells whether a package is in a directory or below.
func within(path, dir string) bool {
	return path == module+"/"+dir || strings.HasPrefix(path, module+"/"+dir+"/")
}

// testCode keeps what is made for tests out of what is shipped.
func testCode(from, to string) string {
	switch {
	case within(from, "pkg/acceptance"):
		return ""
	case strings.HasSuffix(to, "/fakes"):
		return "fakes are for tests"
	case strings.HasSuffix(to, "test") && !strings.HasSuffix(from, "test"):
		return "a package whose name ends in test is for tests"
	case within(to, "pkg/acceptance") && !within(from, "pkg/bench"): // which measures what is used as a client would
		return "pkg/acceptance is test code"
	case within(to, "pkg/bench") && !within(from, "pkg/bench"):
		return "pkg/bench measures, it is no part of what is measured"
	}
	return ""
}

func intoPkg(fromTop, toRoom string) string {
	if toRoom == "platform" && fromTop != "pkg" && fromTop != "scripts" {
		return "a service never knows which profile it runs on"
	}
	return ""
}

// withinDomain is main -> handler, subscriber -> service; the room of main is empty.
func withinDomain(from, to string) string {
	if from == to {
		return ""
	}
	switch {
	case to == "":
		return "main is nobody's import"
	case from == "proto":
		return "generated code stands alone"
	case from == "service" && to == "proto":
		return "the core knows no proto of its own service: handlers convert"
	case from == "service" && (to == "handler" || to == "subscriber"):
		return "the core does not know who calls it"
	case from == "handler" && to == "subscriber", from == "subscriber" && to == "handler":
		return "what handlers and subscribers share belongs to service"
	}
	return ""
}

// split cuts a package of this module into its first two directories.
func split(path string) (top, room string, ok bool) {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return "", "", false
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) > 1 {
		room = parts[1]
	}
	return parts[0], room, true
}

func short(path string) string { return strings.TrimPrefix(path, module+"/") }
