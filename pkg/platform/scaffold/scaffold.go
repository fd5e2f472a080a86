// Package scaffold is `micro new`: it writes a service in the shape that every service of a repository like this one has.
package scaffold

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/m3o/backend/pkg/platform/state"
)

//go:embed templates
var templates embed.FS

// A name becomes a directory, a Go package, a proto package and the beginning of table names.
var validName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)

// reserved are names that mean something else at the top of a repository, or to Go.
var reserved = map[string]bool{
	"bin": true, "handler": true, "internal": true, "main": true, "pkg": true, "proto": true, "scripts": true,
	"service": true, "subscriber": true, "testdata": true, "tools": true, "vendor": true,
}

// Service is what the templates see.
type Service struct {
	// Name is the service's: account. Title is the name of its main RPC service: Account.
	Name, Title string
	// Module is the path of the module it becomes part of.
	Module string
}

// New writes the service name into the module whose root is dir and generates its code. It writes nothing if there is
// already something of that name.
func New(ctx context.Context, dir, name string, out io.Writer) error {
	s, err := describe(dir, name)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, name)
	if err := os.Mkdir(target, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: there is already something of that name", name)
	} else if err != nil {
		return fmt.Errorf("make the service's directory: %w", err)
	}
	if err := s.write(target, out); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "generating its code") // nobody may be looking
	generate := exec.CommandContext(ctx, "make", "-s", "-C", target, "generate")
	generate.Stdout, generate.Stderr = out, out
	if err := generate.Run(); err != nil {
		return fmt.Errorf("the files are written, but generating code from them failed: %w; try again with make -C %s generate", err, name)
	}
	_, _ = fmt.Fprintf(out, "done; try it with make -C %s test, or with a running platform: bin/micro run ./%s\n", name, name)
	return nil
}

func describe(dir, name string) (Service, error) {
	if !validName.MatchString(name) {
		return Service{}, errors.New("name: expected 2 to 31 lower case letters and digits, a letter first, as in account")
	}
	if reserved[name] || token.IsKeyword(name) || state.IsServer(name) {
		return Service{}, errors.New("name: this one means something else here; choose another")
	}
	module, err := modulePath(filepath.Join(dir, "go.mod"))
	if err != nil {
		return Service{}, err
	}
	return Service{
		Name: name, Title: strings.ToUpper(name[:1]) + name[1:], Module: module,
	}, nil
}

// modulePath reads the path of a module from its go.mod.
func modulePath(file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is no go.mod here: a service is made at the root of the repository")
	}
	if err != nil {
		return "", fmt.Errorf("read the module's path: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if path, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "module "); ok {
			return strings.Trim(path, `" `), nil
		}
	}
	return "", fmt.Errorf("%s names no module", file)
}

// write fills every template into the target directory. A template's path is the file's, with NAME for the service's name.
func (s Service) write(target string, out io.Writer) error {
	return fs.WalkDir(templates, "templates", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(templates, path)
		if err != nil {
			return err
		}
		// [[ ]] leaves {{ }} to the files themselves.
		parsed, err := template.New(path).Delims("[[", "]]").Parse(string(text))
		if err != nil {
			return fmt.Errorf("parse template: %w", err)
		}
		name := strings.TrimPrefix(path, "templates/")
		name = strings.ReplaceAll(strings.TrimSuffix(name, ".tmpl"), "NAME", s.Name)
		_, _ = fmt.Fprintln(out, filepath.Join(s.Name, name)) // nobody may be looking
		return s.writeFile(filepath.Join(target, name), parsed)
	})
}

func (s Service) writeFile(name string, text *template.Template) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // source code is for everybody to read
	if err != nil {
		return err
	}
	return errors.Join(text.Execute(f, s), f.Close())
}
