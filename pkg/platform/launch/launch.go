// Package launch takes a service from its directory to a running process: it finds out what is meant, builds the binary in
// place, so that everything the source embeds is in it, and hands it to the runtime.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/runtime"

	embedded "github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// Service is a service that can be built here.
type Service struct {
	// Name is the name it is called by: that of its .mu file, else of its directory.
	Name string
	// Version is "latest" unless the argument named one as in ./customers@v2.
	Version string
	// Dir is the absolute path of its directory.
	Dir string
}

// Find returns the service that an argument of `micro run` means: a directory with a main package, optionally followed by
// @version. It never asks anything outside this machine.
func Find(arg string) (Service, error) {
	path, version, _ := strings.Cut(arg, "@")
	if version == "" {
		version = "latest"
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return Service{}, fmt.Errorf("%s: %w", path, err)
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return Service{}, fmt.Errorf("%s: no such directory (a service is run from its directory, as in: micro run ./customers)", path)
	case err != nil:
		return Service{}, fmt.Errorf("%s: %w", path, err)
	case !info.IsDir():
		return Service{}, fmt.Errorf("%s: not a directory (a service is run from its directory)", path)
	}
	if sources, err := filepath.Glob(filepath.Join(dir, "*.go")); err != nil || len(sources) == 0 {
		return Service{}, fmt.Errorf("%s: no Go files in this directory", path)
	}
	name := filepath.Base(dir)
	switch marks, err := filepath.Glob(filepath.Join(dir, "*.mu")); {
	case err != nil:
		return Service{}, fmt.Errorf("%s: %w", path, err)
	case len(marks) > 1:
		return Service{}, fmt.Errorf("%s: more than one .mu file; its name is the service's", path)
	case len(marks) == 1:
		name = strings.TrimSuffix(filepath.Base(marks[0]), ".mu")
	}
	return Service{Name: name, Version: version, Dir: dir}, nil
}

// BuildDir is a directory to build in, below parent. Whatever a build leaves when it is killed is in there.
func BuildDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, buildPrefix+"*")
	if err != nil {
		return "", fmt.Errorf("make a directory to build in: %w", err)
	}
	return dir, nil
}

const buildPrefix = ".build-"

// RemoveBuildDirs removes what killed builds have left below parent. No build may be running there.
func RemoveBuildDirs(parent string) error {
	left, err := filepath.Glob(filepath.Join(parent, buildPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// Build builds services, all at once, into dir and returns the paths of their binaries in the same order. What the
// compiler has to say goes to output. When ctx ends, so do the compilers, and the error is the context's cause. The flags are
// for `go build`.
func Build(ctx context.Context, services []Service, dir string, output io.Writer, flags ...string) ([]string, error) {
	if err := checkTools(ctx); err != nil {
		return nil, err
	}
	binaries := make([]string, len(services))
	for module, members := range byModule(services) {
		out, err := os.MkdirTemp(dir, "binaries-*")
		if err != nil {
			return nil, fmt.Errorf("make a directory to build in: %w", err)
		}
		args := append([]string{"build", "-o", out + string(filepath.Separator)}, flags...)
		for _, i := range members {
			args = append(args, services[i].Dir)
			binaries[i] = filepath.Join(out, filepath.Base(services[i].Dir))
		}
		cmd := exec.Command("go", args...) //nolint:noctx // supervisor.Run sees to the context
		cmd.Dir, cmd.Stdout, cmd.Stderr = module, output, output
		cmd.Env = append(os.Environ(), "GOTMPDIR="+dir)
		if err := supervisor.Run(ctx, cmd); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		} else if err != nil {
			return nil, errors.New("the build failed; what the compiler said stands above")
		}
		for _, i := range members {
			if _, err := os.Stat(binaries[i]); err != nil {
				return nil, fmt.Errorf("%s: not a main package", services[i].Dir)
			}
		}
	}
	return binaries, nil
}

// byModule groups the indexes of services by the directory of their module, because one build is of one module.
func byModule(services []Service) map[string][]int {
	modules := make(map[string][]int)
	for i, s := range services {
		dir := s.Dir
		for d := dir; ; d = filepath.Dir(d) {
			if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
				dir = d
				break
			}
			if d == filepath.Dir(d) {
				break // no module: the build says so
			}
		}
		modules[dir] = append(modules[dir], i)
	}
	return modules
}

// checkTools says in one sentence what is missing for a build. The C compiler is for SQLite.
func checkTools(ctx context.Context) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("building a service needs Go, and there is no go in PATH: install it from https://go.dev/dl")
	}
	out, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED", "CC").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	cgo, cc, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	compiler, _, _ := strings.Cut(cc, " ")
	if _, err := exec.LookPath(compiler); err != nil || cgo != "1" {
		return fmt.Errorf("building a service needs a C compiler, and %s cannot be used: install gcc or clang, or set CC",
			compiler)
	}
	return nil
}

// Options say how a service is run.
type Options struct {
	// Args and Env (NAME=value) are given to the process.
	Args, Env []string
	// Metadata is shown by `micro status`.
	Metadata map[string]string
	// Force restarts a service that runs the very same binary.
	Force bool
	// Update refuses a service that does not run yet, and keeps the arguments and the environment of one that does.
	Update bool
	// Keep does the same for a service that runs, without a restart if its binary is this one, and runs one that does not.
	Keep bool
}

// Run hands a binary to the runtime, which has started it when Run returns; whether the service answers is another matter.
func Run(ctx context.Context, s Service, binary string, options Options) error {
	f, err := os.Open(binary)
	if err != nil {
		return fmt.Errorf("open the binary: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	source, err := embedded.Upload(ctx, s.Name, f)
	if err != nil {
		return err
	}
	metadata := map[string]string{"source": s.Dir}
	for name, value := range options.Metadata {
		metadata[name] = value
	}
	srv := &runtime.Service{Name: s.Name, Version: s.Version, Source: source, Metadata: metadata}
	if options.Keep {
		running, err := runtime.Read(runtime.ReadService(s.Name), runtime.ReadVersion(s.Version))
		if err != nil {
			return err
		}
		if len(running) > 0 && running[0].Source == source && running[0].Status == runtime.Running {
			return nil
		}
		options.Update = len(running) > 0
	}
	if options.Update {
		return runtime.Update(srv)
	}
	create := []runtime.CreateOption{
		runtime.WithArgs(options.Args...),
		runtime.WithEnv(options.Env),
		runtime.WithForce(options.Force),
	}
	return runtime.Create(srv, create...)
}

// patience is how long the runtime may take: it answers when the service that was there before has ended.
const patience = time.Minute

// Patient makes this process wait for the runtime longer than Micro's ten seconds, for Run and for what Micro's own
// commands ask of it.
func Patient() error { return client.DefaultClient.Init(client.RequestTimeout(patience)) }
