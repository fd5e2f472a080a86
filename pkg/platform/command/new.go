package command

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/scaffold"
)

// newService is `micro new account`, at the root of the repository.
func newService(ctx *cli.Context) error {
	if ctx.Args().Len() != 1 {
		return errors.New("expected one name, as in: micro new account")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return scaffold.New(stop, dir, ctx.Args().First(), os.Stdout)
}
