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

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/runtime"
	"github.com/urfave/cli/v2"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
)

// Flags are those of the command.
var Flags = []cli.Flag{
	&cli.StringFlag{
		Name:  "state",
		Usage: "Keep everything below this directory (default: $" + state.Env + ", or the nearest " + state.DirName + ")",
	},
	&cli.IntFlag{
		Name:  "port",
		Usage: "Use the block of ports that starts here; the first is the HTTP API's (default: $" + state.PortEnv + ", the last one used, or 8080)",
	},
	&cli.StringSliceFlag{
		Name:  "try",
		Usage: "Suggest this command once everything answers; may be given more than once",
	},
	&cli.StringSliceFlag{
		Name:  "run",
		Usage: "Build and run the service in this directory as well; may be given more than once",
	},
}

// startTimeout is how long the core services and, after the build, the services may take until they answer.
const startTimeout = time.Minute

// Serve is the command's action.
func Serve(ctx *cli.Context) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	err := serve(stop, ctx.StringSlice("run"), ctx.StringSlice("try"), os.Stdout)
	if err != nil && stop.Err() != nil {
		return nil //nolint:nilerr // somebody had enough before it was up: that is no failure
	}
	return err
}

func serve(stop context.Context, dirs, try []string, out io.Writer) (err error) {
	services := make([]launch.Service, len(dirs))
	for i, dir := range dirs {
		if services[i], err = launch.Find(dir); err != nil {
			return err
		}
	}
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	progress := newProgress(out)
	if err := logIn(); err != nil {
		return err
	}
	core, err := startCore(addresses)
	if err != nil {
		return err
	}
	defer func() {
		progress.say("stopping")
		core.stop()
		progress.say("stopped")
	}()
	if err := up(stop, core, services, progress, out); err != nil {
		return err
	}
	welcome(out, addresses, try)
	<-stop.Done()
	return nil
}

// up returns when everything answers. The build of the services and the start of the core services do not wait for each
// other, but a failure of either ends both.
func up(ctx context.Context, core *core, services []launch.Service, progress *progress, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dir, err := os.MkdirTemp(state.Dir(), ".build-*")
	if err != nil {
		return fmt.Errorf("make a directory to build in: %w", err)
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

	if err := ready(ctx, core); err != nil {
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

// ready waits for the core services.
func ready(ctx context.Context, core *core) error {
	waiting, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it took too long; the logs are in "+state.Logs()))
	defer cancel()
	err := core.wait(waiting)
	if ctx.Err() != nil {
		return context.Cause(ctx) // whatever ended the wait is what went wrong
	}
	return err
}

// run hands the services to the runtime and waits until they answer.
func run(ctx context.Context, services []launch.Service, binaries []string, progress *progress) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it does not answer; its log is in "+state.Logs()))
	defer cancel()
	for i, s := range services {
		if err := launch.Run(ctx, s, binaries[i], launch.Options{}); err != nil {
			return fmt.Errorf("run %s: %w", s.Name, err)
		}
	}
	for _, s := range services {
		if err := answers(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		progress.say(s.Name + " answers")
	}
	return nil
}

// logIn makes this process an admin, as the owner of the platform's keys.
func logIn() error {
	account, err := auth.Generate("server", access.ServiceAccount(access.Platform)...)
	if err != nil {
		return fmt.Errorf("make an account for the server: %w", err)
	}
	token, err := auth.Token(auth.WithCredentials(account.ID, account.Secret), auth.WithExpiry(24*time.Hour))
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	auth.DefaultAuth.Init(auth.ClientToken(token))
	return nil
}

// answers returns when a service answers a health check, or with its last words when it does not start.
func answers(ctx context.Context, s launch.Service) error {
	return poll(ctx, func() (bool, error) {
		if found, err := registry.GetService(s.Name); err == nil && len(found) > 0 {
			request := client.NewRequest(s.Name, "Debug.Health", &struct{}{}, client.WithContentType("application/json"))
			if err := client.Call(ctx, request, &struct{}{}, client.WithAuthToken()); err == nil {
				return true, nil
			}
		}
		status, err := runtime.Read(runtime.ReadService(s.Name), runtime.ReadVersion(s.Version))
		if err == nil && len(status) == 1 && status[0].Status == runtime.Error && status[0].Metadata["restarts"] != "0" {
			return false, fmt.Errorf("it does not start: %s", strings.TrimPrefix(status[0].Metadata["error"], s.Name+": "))
		}
		return false, nil
	})
}

func names(services []launch.Service) string {
	var all []string
	for _, s := range services {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}
