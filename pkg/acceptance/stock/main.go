// Command stock runs a core service of Micro as Micro has it, with nothing of this repository in it, so that a test can
// show what is open there: stock <state directory> <address> <service>.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/micro/micro/v3/cmd"
	_ "github.com/micro/micro/v3/cmd/service" // the command
	"github.com/micro/micro/v3/profile"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/jwt"
	"github.com/micro/micro/v3/service/broker/memory"
	registry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/service/store/file"
	"github.com/micro/micro/v3/util/config"
	"github.com/micro/micro/v3/util/user"
	"github.com/urfave/cli/v2"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "stock: expected a state directory, an address and a service")
		os.Exit(2)
	}
	dir, address, service := os.Args[1], os.Args[2], os.Args[3]
	user.Dir = dir
	config.SetConfig(filepath.Join(dir, "config.json"))
	file.DefaultDir = filepath.Join(dir, "store")
	for name, value := range map[string]string{
		"MICRO_PROFILE": "stock", "MICRO_SERVICE_ADDRESS": address, "MICRO_REPORT_USAGE": "false",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "stock:", err)
			os.Exit(1)
		}
	}
	// What Micro's own profile "local" has, as far as one service alone needs it.
	if err := profile.Register("stock", &profile.Profile{Name: "stock", Setup: func(ctx *cli.Context) error {
		auth.DefaultAuth = jwt.NewAuth()
		store.DefaultStore = file.NewStore(file.WithDir(file.DefaultDir))
		profile.SetupRegistry(registry.NewRegistry())
		profile.SetupBroker(memory.NewBroker())
		profile.SetupJWT(ctx)
		return nil
	}}); err != nil {
		fmt.Fprintln(os.Stderr, "stock:", err)
		os.Exit(1)
	}
	os.Args = []string{"micro", "service", service}
	cmd.Run()
}
