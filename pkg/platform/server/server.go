// Package server is `micro server`: it runs the core services, and with --run services of one's own, until it is told to
// stop.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
)

// Flags are those of the command, made anew for each parser because a flag keeps what it was given.
func Flags() []cli.Flag {
	return []cli.Flag{
		StateFlag(),
		&cli.IntFlag{
			Name:  "port",
			Usage: "Use the block of ports that starts here; the first is the HTTP API's (default: $" + state.PortEnv + ", the last one used, or 8080)",
		},
		&cli.BoolFlag{
			Name:  "tls",
			Usage: "Have the platform's processes prove to each other who they are, with certificates that are made here (others: $" + state.TLSEnv + ")",
		},
		&cli.StringSliceFlag{
			Name:  "try",
			Usage: "Suggest this command once everything answers; may be given more than once",
		},
		&cli.StringSliceFlag{
			Name:  "run",
			Usage: "Build and run the service in this directory as well; may be given more than once",
		},
		&cli.StringSliceFlag{
			Name:  "stand-in",
			Usage: "Run a program that stands in for Stripe or Mixpanel, as in stripe=bin/stripe-mock or mixpanel=bin/sink",
		},
	}
}

// StateFlag is the flag that every command has before its name and the server behind it as well.
func StateFlag() cli.Flag {
	return &cli.StringFlag{
		Name:  "state",
		Usage: "Keep everything below this directory (default: $" + state.Env + ", or the nearest " + state.DirName + ")",
	}
}

// startTimeout is how long the core services may take until they answer.
const startTimeout = time.Minute

// Serve is the command's action.
func Serve(ctx *cli.Context) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(stop, cancel) // whoever presses Ctrl-C twice does not want to wait
	err := serve(stop, ctx.StringSlice("run"), ctx.StringSlice("stand-in"), ctx.StringSlice("try"), os.Stdout)
	if err != nil && stop.Err() != nil {
		return nil //nolint:nilerr // somebody had enough before it was up: that is no failure
	}
	return err
}

func serve(stop context.Context, dirs, programs, try []string, out io.Writer) (err error) {
	services := make([]launch.Service, len(dirs))
	for i, dir := range dirs {
		if services[i], err = launch.Find(dir); err != nil {
			return err
		}
	}
	standIns, err := parseStandIns(programs)
	if err != nil {
		return err
	}
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	if err := profile.Try(); err != nil {
		return err
	}
	certified, err := certify(addresses)
	if err != nil {
		return err
	}
	defer certified()
	progress := newProgress(out)
	if err := launch.RemoveBuildDirs(state.Dir()); err != nil {
		return fmt.Errorf("remove what killed builds have left: %w", err)
	}
	// Before the core services, which tell services where they are; they end after whoever may still call them.
	others, err := startStandIns(addresses, standIns)
	if err != nil {
		return err
	}
	defer others.stop()
	core, err := startCore(addresses)
	if err != nil {
		return err
	}
	defer func() {
		progress.say("stopping")
		core.stop()
		progress.say("stopped")
	}()
	if err := up(stop, core, others, services, progress, out); err != nil {
		return err
	}
	if err := welcome(out, addresses, others, try); err != nil {
		return err
	}
	<-stop.Done()
	return nil
}

// up returns when everything answers. The build of the services and the start of the core services do not wait for each
// other, but a failure of either ends both.
func up(ctx context.Context, core *core, others *others, services []launch.Service, progress *progress, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dir, err := launch.BuildDir(state.Dir())
	if err != nil {
		return err
	}
	var binaries []string
	var building sync.WaitGroup
	building.Go(func() {
		var err error
		if binaries, err = build(ctx, services, dir, progress, out); err != nil {
			cancel(err)
		}
	})
	defer func() {
		cancel(nil)
		building.Wait()
		_ = os.RemoveAll(dir) // what is left is in nobody's way
	}()

	go func() { // nothing here gets an answer before that, and what keeps the auth service from starting is found meanwhile
		if err := logIn(); err != nil {
			cancel(err)
		}
	}()
	if err := ready(ctx, core, others, progress); err != nil {
		return err
	}
	progress.say("core services are ready")
	if building.Wait(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return run(ctx, services, binaries, progress)
}

func build(ctx context.Context, services []launch.Service, dir string, progress *progress, out io.Writer) ([]string, error) {
	if len(services) == 0 {
		return nil, nil
	}
	progress.say("building " + names(services))
	binaries, err := launch.Build(ctx, services, dir, out)
	if err != nil {
		return nil, err
	}
	progress.say("built " + names(services))
	return binaries, nil
}

// ready waits for the core services, and for what stands in for others.
func ready(ctx context.Context, core *core, others *others, progress *progress) error {
	waiting, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it took too long; the logs are in "+state.Logs()))
	defer cancel()
	err := core.wait(waiting, progress.say)
	if err == nil {
		err = others.wait(waiting)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // whatever ended the wait is what went wrong
	}
	return err
}

// run hands the services to the runtime and waits until they answer.
func run(ctx context.Context, services []launch.Service, binaries []string, progress *progress) error {
	for i, s := range services {
		if err := launch.Run(ctx, s, binaries[i], launch.Options{Keep: true}); err != nil {
			return fmt.Errorf("run %s: %w", s.Name, err)
		}
	}
	for _, s := range services {
		if err := launch.Wait(ctx, s); err != nil {
			return fmt.Errorf("%s: %w; to mend its configuration, start the platform without it "+
				"(micro server, or make run services=)", s.Name, err)
		}
		progress.say(s.Name + " answers")
	}
	return nil
}

func names(services []launch.Service) string {
	var all []string
	for _, s := range services {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}
