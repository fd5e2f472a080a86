// Package command makes Micro's command line that of this repository: the same commands, with our own actions where
// Micro's do what this platform cannot live with.
package command

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/micro/micro/v3/cmd"
	"github.com/micro/micro/v3/util/config"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/core"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/platform/kubernetes"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/proxy"
	"github.com/m3o/backend/pkg/platform/runtime"
	platform "github.com/m3o/backend/pkg/platform/server"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// Run runs the command line and does not return an error that has not been told: it ends the process with code 1.
func Run() {
	if len(os.Args) > 1 && os.Args[1] == "kubernetes" { // for pods and not for people: no help has it
		if err := kubernetes.Command(context.Background(), os.Args[2:]); err != nil {
			fail(err)
		}
		return
	}
	a := parse(os.Args)
	if err := a.setup(); err != nil {
		fail(err)
	}
	os.Args = a.rest
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
func (a arguments) setup() error {
	dir, err := state.Locate(a.state)
	if err != nil {
		return err
	}
	isServer := a.command == "server" || a.command == "service"
	if a.command == "restore" {
		state.Choose(dir)
		state.KeepPrivate()
		return nil
	}
	if !isServer && (a.state != "" || os.Getenv(state.Env) != "") {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("there is no state directory %s: name the one of a server, or start one with it", dir)
		}
	}
	if err := state.Use(dir); err != nil {
		return err
	}
	if isServer && !a.help {
		if err := profile.Check(); err != nil {
			return err
		}
	}
	defaults := map[string]string{"MICRO_REPORT_USAGE": "false"}
	if isServer {
		// Without this Micro makes a key of its own, which nobody needs.
		defaults["MICRO_AUTH_PUBLIC_KEY"] = "none"
		// What the command line has saved, its login above all, is not the platform's.
		config.SetConfig(filepath.Join(dir, "server", "config.json"))
	}
	switch {
	case a.command == "server" && a.help: // Micro shows it
	case a.command == "server":
		state.KeepPrivate()
		if err := state.Lock(); err != nil {
			return err
		}
		if _, err := state.Claim(a.port, a.tls); err != nil {
			return err
		}
		defaults[profile.Env] = profile.Embedded
	case a.command == "backup": // it needs the profile that the environment names, and nothing of Micro
		state.KeepPrivate()
	case a.command == "service":
		state.KeepPrivate()
		supervisor.EndWithParent()
		defaults[profile.Env] = profile.Embedded
		defaults["MICRO_SERVICE_ADDRESS"] = state.Host + ":0" // Micro's own default is every interface
	default:
		if a.command != "new" { // which makes source code, that others may read
			state.KeepPrivate()
		}
		addresses, err := state.LoadAddresses()
		if err != nil {
			return err
		}
		if name := os.Getenv(profile.Env); name == profile.Embedded || name == profile.Platform { // meant for the server
			if err := os.Setenv(profile.Env, "client"); err != nil {
				return fmt.Errorf("set %s: %w", profile.Env, err)
			}
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
	if err := profile.Register(); err != nil {
		return err
	}
	switch {
	case a.command == "server": // it makes the certificates first
		return nil
	case a.command != "service" && os.Getenv(state.TLSEnv) == "" && (a.isElsewhere() || !isServed()):
		return nil // those of the state directory are for its own server, and good while that runs
	}
	return profile.Secure(cmp.Or(a.service, state.Operator))
}

// isElsewhere tells whether a command is for another server than that of the state directory.
func (a arguments) isElsewhere() bool {
	return a.command != "service" && (a.env != "" || os.Getenv("MICRO_ENV") != "" || os.Getenv("MICRO_PROXY") != proxyOfState())
}

// arguments are those that have to be known before Micro parses them.
type arguments struct {
	command, env, state string
	port                int
	// tls is whether the server makes certificates, service which core service the process is.
	tls     bool
	service string
	// help is whether Micro will only explain the command, or complain about what is wrong with its flags.
	help bool
	// rest is all arguments but --state before the command, which a core service's own parser does not know.
	rest []string
}

// parse reads them. Micro reads everything again.
func parse(args []string) arguments {
	a := arguments{rest: args}
	for i := 1; i < len(args); i++ {
		first := i
		name, value, hasValue := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			switch a.command = name; {
			case name == "server":
				a.parseServer(args[i+1:])
			case name == "service" && i+1 < len(args):
				a.service = args[i+1]
			case isApart[name]:
				a.parseState(args[i+1:])
			}
			break // the rest is the command's
		}
		name = strings.TrimLeft(name, "-")
		if !hasValue && i+1 < len(args) && name != "help" && name != "h" && name != "version" && name != "v" {
			i++
			value = args[i]
		}
		switch name {
		case "state":
			a.state = value
			a.rest = slices.Concat(args[:first], args[i+1:])
		case "env", "e":
			a.env = value
		}
	}
	return a
}

// parseServer reads the flags of the server.
func (a *arguments) parseServer(args []string) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, f := range slices.Concat(platform.Flags(), []cli.Flag{
		&cli.StringFlag{Name: "address"}, &cli.StringFlag{Name: "image"}, // Micro's own
	}) {
		if f.Apply(flags) != nil {
			a.help = true
			return
		}
	}
	a.help = flags.Parse(args) != nil
	if dir := flags.Lookup("state").Value.String(); dir != "" {
		a.state = dir
	}
	a.tls = flags.Lookup("tls").Value.String() == "true"
	a.port, _ = strconv.Atoi(flags.Lookup("port").Value.String()) // it has been parsed as a number
}

// parseState reads the state directory among the flags of a command.
func (a *arguments) parseState(args []string) {
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case name != "--state" && name != "-state":
		case ok:
			a.state = value
		case i+1 < len(args):
			a.state = args[i+1]
		}
	}
}

// isApart has the commands for which nothing of Micro is set up.
var isApart = map[string]bool{"backup": true, "restore": true}

// removed are commands that set up, or talk to, what this platform does not have.
var removed = []string{"gen", "init", "network"}

// explain is the help of run and update.
const explain = `A service is run from its directory: it is built there, and the binary is handed to the platform, which keeps it,
   starts it now and whenever the server starts, and starts it again when it ends. Its name is that of its .mu file, or
   of its directory.`

// runFlags are those of Micro's flags that mean something here.
func runFlags(flags []cli.Flag, names ...string) []cli.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool { return !slices.Contains(names, f.Names()[0]) })
}

// replaceActions puts our actions in the place of Micro's. Registering a command of the same name would show it twice.
func replaceActions(app *cli.App) {
	app.Flags = append(app.Flags, platform.StateFlag())
	app.Commands = slices.DeleteFunc(app.Commands, func(c *cli.Command) bool { return slices.Contains(removed, c.Name) })
	app.Commands = append(app.Commands, backupCommand(), restoreCommand())
	for _, c := range app.Commands {
		switch c.Name {
		case "server":
			c.Flags = append(c.Flags, platform.Flags()...)
			c.Action = platform.Serve
		case "run":
			c.Action, c.Usage, c.Description = run, "Build and run a service: micro run ./customers", explain
			c.Flags = append(runFlags(c.Flags, "name", "args", "env_vars", "metadata", "force"), staticFlag, &cli.BoolFlag{
				Name: runtime.Sold, Usage: "Give the service no power over the platform: its calls are sold, its code is somebody else's",
			})
		case "update":
			c.Action, c.Usage, c.Description = update, "Build a running service anew and restart it: micro update ./customers", explain
			c.Flags = append(runFlags(c.Flags, "name"), staticFlag)
		case "kill":
			c.Action, c.Usage, c.Description = kill, "Stop a service and forget it: micro kill customers", ""
			c.Flags = nil
		case "shutdown":
			c.Action, c.Usage = shutdown, "Stop the server of this state directory"
		case "new":
			c.Action = newService
		case "auth":
			c.Subcommands = append(c.Subcommands, rotateCommand)
		case "service":
			c.Subcommands = slices.DeleteFunc(c.Subcommands, func(sub *cli.Command) bool { return !state.IsServer(sub.Name) })
			for _, sub := range c.Subcommands {
				switch sub.Name {
				case "api":
					sub.Action = edge.Serve
				case "proxy":
					sub.Action = proxy.Serve
				case "runtime":
					if sub.Action = runtime.Serve; kubernetes.IsWanted() {
						sub.Action = kubernetes.Serve
					}
				default:
					sub.Action = core.Action(sub.Name)
				}
			}
		}
	}
}
