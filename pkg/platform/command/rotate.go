package command

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/state"
)

// rotateCommand is `micro auth rotate`. It needs no server: who signs and who verifies notices by itself.
var rotateCommand = &cli.Command{
	Name:  "rotate",
	Usage: "Sign tokens with a new key; the former one is good for as long as its tokens live",
	Action: func(*cli.Context) error {
		if err := token.Rotate(state.Keys(), time.Now()); err != nil {
			return fmt.Errorf("rotate the key: %w", err)
		}
		fmt.Fprintf(os.Stderr, "Tokens are signed with a new key. What the former one has signed is good for %s more at most.\n", token.MaxAccess)
		return nil
	},
}
