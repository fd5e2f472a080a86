// Command micro is Micro's command line and server as this platform needs them; see the packages in pkg/platform.
package main

import (
	_ "github.com/micro/micro/v3/client/cli" // the commands
	_ "github.com/micro/micro/v3/cmd/server"
	_ "github.com/micro/micro/v3/cmd/service"

	"github.com/m3o/backend/pkg/platform/command"
)

func main() { command.Run() }
