package command

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
)

// shutdownTime is how long a server may take to stop: its services answer what they are working on.
const shutdownTime = time.Minute

// shutdown is `micro shutdown`: it stops the server of this state directory, and no other.
func shutdown(*cli.Context) error {
	pid, err := state.Server()
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("no server uses the state in %s", state.Dir())
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), shutdownTime, errors.New("the server has not stopped yet"))
	defer cancel()
	return launch.Poll(ctx, func() (bool, error) {
		now, err := state.Server()
		return now != pid, err
	})
}
