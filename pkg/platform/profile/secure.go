package profile

import (
	"fmt"
	"os"

	"github.com/micro/micro/v3/service/client"

	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/mtls"
)

// Secure has Micro's own client of this process, which the command line and the server call with, and core services until they
// have ours, connect with the certificates of a process of that name. Where connections are not encrypted it does nothing.
func Secure(name string) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	dir := addresses.Certificates(name)
	if dir == "" {
		return nil
	}
	source, err := mtls.Open(dir, "") // nobody calls this process by what it is until it serves
	if err != nil {
		return fmt.Errorf("%s: %w", state.TLSEnv, err)
	}
	return client.DefaultClient.Init(source.Micro(func(address string) string {
		if address == os.Getenv("MICRO_PROXY") {
			return "proxy"
		}
		return addresses.ServerAt(address)
	}))
}
