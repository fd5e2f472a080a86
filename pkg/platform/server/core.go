package server

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/registry"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// coreServices are Micro's, in the order in which they are started; they are stopped in the opposite one. The registry is
// first because all others register there, and the runtime last because its services use all others.
var coreServices = []string{
	"registry", "broker", "store", "config", "auth", "events", "proxy", "api", "runtime",
}

// core is the processes of the core services.
type core struct {
	names     []string
	processes []*supervisor.Process
}

// startCore starts the core services.
func startCore(addresses state.Addresses) (*core, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this executable: %w", err)
	}
	credentials, err := loadKeys()
	if err != nil {
		return nil, err
	}
	c := &core{}
	for _, name := range coreServices {
		config := supervisor.Config{Log: filepath.Join(state.Logs(), name+".log"), MaxBackoff: 5 * time.Second}
		if name == "runtime" {
			config.Grace = 30 * time.Second // it stops its services first
		}
		p, err := supervisor.Start(config, supervisor.Command{
			Path: binary, Args: []string{"service", name}, Env: coreEnv(name, addresses, credentials),
		})
		if err != nil {
			c.stop()
			return nil, err
		}
		c.names, c.processes = append(c.names, name), append(c.processes, p)
	}
	return c, nil
}

// logged finds what somebody has to say in a line of the log.
var logged = regexp.MustCompile(`^time=\S+ level=\S+ .*?msg=("(?:[^"\\]|\\.)*"|\S+)`)

// sentence is why a process has ended: the last line that it has written, without what a log has around it.
func sentence(line string) string {
	found := logged.FindStringSubmatch(line)
	if found == nil {
		return line
	}
	if text, err := strconv.Unquote(found[1]); err == nil {
		return text
	}
	return found[1]
}

// given are the variables that a core service gets from nobody but us, or not at all.
var given = []string{
	profile.Env, "MICRO_PROXY", "MICRO_SERVICE_ADDRESS", "MICRO_SERVICE_NAME", "MICRO_PROXY_ADDRESS", edge.AddressEnv,
	"MICRO_REGISTRY_ADDRESS", "MICRO_BROKER_ADDRESS", "MICRO_AUTH_ID", "MICRO_AUTH_SECRET", runtime.CredentialsEnv,
}

// coreEnv is the environment of a core service: ours, with its address.
func coreEnv(name string, addresses state.Addresses, credentials token.Root) []string {
	address := addresses.Of(name)
	if name == "api" { // what listens on its address is an HTTP server; it is a Micro service beside that
		address = state.Host + ":0"
	}
	env := []string{
		profile.Env + "=" + profile.Current(),
		"MICRO_SERVICE_ADDRESS=" + address,
		"MICRO_AUTH_ID=" + access.Part(name),
		"MICRO_AUTH_SECRET=" + credentials.Secret(access.Part(name)),
	}
	if name == "runtime" {
		env = append(env, runtime.CredentialsEnv+"="+credentials.Services().String())
	}
	for _, v := range os.Environ() {
		switch variable, value, _ := strings.Cut(v, "="); {
		case variable == monitor.AddressEnv:
			if address := monitor.Shared(value); address != "" {
				env = append(env, variable+"="+address)
			}
		case slices.Contains(given, variable), variable == "MICRO_CONFIG_SECRET_KEY" && name != "config": // nobody else has a use for it
		case !profile.Needs(name, variable):
		case strings.HasPrefix(variable, "MICRO_"), strings.HasPrefix(variable, "OTEL_"), runtime.IsPassedOn(variable, name == "runtime"):
			env = append(env, v)
		}
	}
	return env
}

// wait returns when every core service is registered, which is the last thing each does when it starts. One that keeps
// ending is an error; except for the API, which has settings that can only be mended while the others run: it is told, and
// the API may start until ctx ends.
func (c *core) wait(ctx context.Context, say func(what string)) error {
	for i, name := range c.names {
		var failure error
		err := launch.Poll(ctx, func() (bool, error) {
			found, err := registry.GetService(name)
			if err == nil && len(found) > 0 {
				return true, nil
			}
			status := c.processes[i].Status()
			if status.Restarts <= 2 || failure != nil {
				return false, nil
			}
			failure = fmt.Errorf("it does not start: %s (its log is %s)",
				sentence(status.Reason), filepath.Join(state.Logs(), name+".log"))
			if name != "api" {
				return false, failure
			}
			say(fmt.Sprintf("core service api: %v; waiting for its configuration to be mended (micro config set)", failure))
			return false, nil
		})
		if err != nil {
			return fmt.Errorf("core service %s: %w", name, cmp.Or(failure, err))
		}
	}
	return nil
}

// stop stops the core services one after the other, the last started first.
func (c *core) stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Stop()
	}
}
