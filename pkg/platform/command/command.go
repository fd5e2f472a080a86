// Package command makes Micro's command line that of this repository: the same commands, with our own actions where
// Micro's do what this platform cannot live with.
package command

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/micro/micro/v3/cmd"
	"github.com/micro/micro/v3/service/server"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/platform/embedded"
	"github.com/m3o/backend/pkg/platform/network"
	"github.com/m3o/backend/pkg/platform/runtime"
	platform "github.com/m3o/backend/pkg/platform/server"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// A node registers again every registerInterval, so that a registry that was killed knows everybody soon after; one that
// has been silent for registerTTL is forgotten.
const (
	registerInterval = 2 * time.Second
	registerTTL      = 10 * time.Second
)

// Run runs the command line and does not return an error that has not been told: it ends the process with code 1.
func Run() {
	if err := setup(os.Args); err != nil {
		fail(err)
	}
	app := cmd.DefaultCmd.App()
	app.Version = version()
	replaceActions(app)
	app.Before = withLogin(app.Before)
	if err := app.Run(os.Args); err != nil {
		fail(err)
	}
}

// version is that of this repository as far as the build knows it; Micro's own would be the framework's.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, sentence(err))
	os.Exit(1)
}

// setup does what has to be done before Micro is: it chooses the state directory, claims the ports for a server and finds
// the server for everything else.
func setup(args []string) error {
	a := parse(args)
	dir, err := state.Locate(a.state)
	if err != nil {
		return err
	}
	if err := state.Use(dir); err != nil {
		return err
	}
	defaults := map[string]string{"MICRO_REPORT_USAGE": "false"}
	switch a.command {
	case "server":
		if err := state.Lock(); err != nil {
			return err
		}
		if _, err := state.Claim(a.port); err != nil {
			return err
		}
		defaults["MICRO_PROFILE"] = embedded.Name
	case "service":
		supervisor.EndWithParent()
		defaults["MICRO_PROFILE"] = embedded.Name
	default:
		addresses, err := state.LoadAddresses()
		if err != nil {
			return err
		}
		if a.env == "" && os.Getenv("MICRO_ENV") == "" {
			// The server of this state directory, wherever its ports are.
			defaults["MICRO_PROXY"] = addresses.Of("proxy")
		}
	}
	for name, value := range defaults {
		if _, ok := os.LookupEnv(name); ok {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := embedded.Register(); err != nil {
		return err
	}
	return server.DefaultServer.Init(server.RegisterInterval(registerInterval), server.RegisterTTL(registerTTL))
}

// arguments are those that have to be known before Micro parses them.
type arguments struct {
	command, env, state string
	port                int
}

// parse reads them. What it does not understand is left to Micro, which reads everything again.
func parse(args []string) arguments {
	var a arguments
	for i := 1; i < len(args); i++ {
		name, value, hasValue := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			if a.command != "" {
				break
			}
			if a.command = name; name != "server" {
				break // its flags are its own
			}
			continue
		}
		name = strings.TrimLeft(name, "-")
		if !hasValue && i+1 < len(args) && name != "help" && name != "h" && name != "version" && name != "v" {
			i++
			value = args[i]
		}
		switch name {
		case "state":
			a.state = value
		case "env", "e":
			a.env = value
		case "port":
			_, _ = fmt.Sscan(value, &a.port) // Micro complains about what is no number
		}
	}
	return a
}

// replaceActions puts our actions in the place of Micro's. Registering a command of the same name would show it twice.
func replaceActions(app *cli.App) {
	app.Flags = append(app.Flags, platform.Flags[0])
	for _, c := range app.Commands {
		switch c.Name {
		case "server":
			c.Flags = append(c.Flags, platform.Flags...)
			c.Action = platform.Serve
		case "run":
			c.Action = run
		case "update":
			c.Action = update
		case "new":
			c.Action = newService
		case "service":
			for _, sub := range c.Subcommands {
				switch sub.Name {
				case "api":
					sub.Action = edge.Serve
				case "network":
					sub.Action = network.Serve
				case "runtime":
					sub.Action = runtime.Serve
				}
			}
		}
	}
}
