package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/micro/micro/v3/service/runtime"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/kubernetes/static"
	"github.com/m3o/backend/pkg/platform/launch"
	embedded "github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
)

// staticFlag is for a platform on Kubernetes, whose pods have none of the libraries of this machine.
var staticFlag = &cli.BoolFlag{
	Name: "static", EnvVars: []string{"MICRO_STATIC"},
	Usage: "Link the binary statically (on Linux): the platform runs on Kubernetes and not on this machine",
}

// run is `micro run ./customers`: build in place, hand over, done.
func run(ctx *cli.Context) error { return launchAll(ctx, false) }

// update is `micro update ./customers`: the same for a service that runs already.
func update(ctx *cli.Context) error { return launchAll(ctx, true) }

func launchAll(ctx *cli.Context, isUpdate bool) error {
	if ctx.Args().Len() == 0 {
		return cli.ShowSubcommandHelp(ctx)
	}
	options, err := optionsOf(ctx)
	if err != nil {
		return err
	}
	options.Update = isUpdate
	services := make([]launch.Service, ctx.Args().Len())
	for i, arg := range ctx.Args().Slice() {
		if services[i], err = launch.Find(arg); err != nil {
			return err
		}
	}
	if name := ctx.String("name"); name != "" {
		if len(services) > 1 {
			return errors.New("--name: expected one service to give the name to")
		}
		services[0].Name = name
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	dir, err := launch.BuildDir(state.Dir())
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is removed with the state directory
	for _, s := range services {
		fmt.Fprintf(os.Stderr, "building %s\n", s.Name)
	}
	var flags []string
	if ctx.Bool(staticFlag.Name) {
		flags = []string{"-tags", static.Tags, "-ldflags", static.Flags}
	}
	binaries, err := launch.Build(stop, services, dir, os.Stderr, flags...)
	if stop.Err() != nil {
		return errors.New("stopped; nothing was changed")
	}
	if err != nil {
		return err
	}
	for i, s := range services {
		if err := launch.Run(stop, s, binaries[i], options); err != nil {
			if isUpdate && sentence(err) == runtime.ErrNotFound.Error() {
				return fmt.Errorf("%s: it does not run yet: use micro run", s.Name)
			}
			return fmt.Errorf("%s: %s", s.Name, sentence(err))
		}
	}
	for _, s := range services {
		if err := launch.Wait(stop, s); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		fmt.Fprintf(os.Stderr, "%s answers\n", s.Name)
	}
	return nil
}

// kill is `micro kill customers`; ./customers means the service that is run from there.
func kill(ctx *cli.Context) error {
	if ctx.Args().Len() == 0 {
		return cli.ShowSubcommandHelp(ctx)
	}
	for _, arg := range ctx.Args().Slice() {
		name, version, _ := strings.Cut(arg, "@")
		if strings.ContainsAny(name, "./") {
			s, err := launch.Find(arg)
			if err != nil {
				return err
			}
			name = s.Name
		}
		if err := runtime.Delete(&runtime.Service{Name: name, Version: version}); err != nil {
			return fmt.Errorf("%s: %s", name, sentence(err))
		}
	}
	return nil
}

// optionsOf reads the flags.
func optionsOf(ctx *cli.Context) (launch.Options, error) {
	options := launch.Options{Force: ctx.Bool("force"), Metadata: make(map[string]string)}
	options.Args = strings.Fields(ctx.String("args"))
	for _, list := range ctx.StringSlice("env_vars") {
		for v := range strings.SplitSeq(list, ",") {
			if name, _, ok := strings.Cut(strings.TrimSpace(v), "="); !ok || name == "" {
				return launch.Options{}, errors.New("--env_vars: expected NAME=value[,NAME=value]")
			}
			options.Env = append(options.Env, strings.TrimSpace(v))
		}
	}
	for _, v := range ctx.StringSlice("metadata") {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" || name == "source" || name == embedded.Sold {
			return launch.Options{}, errors.New("--metadata: expected name=value; the names source and sold are taken")
		}
		options.Metadata[name] = value
	}
	if ctx.Bool(embedded.Sold) {
		options.Metadata[embedded.Sold] = "true"
	}
	return options, nil
}
