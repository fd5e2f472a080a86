package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/platform/backup"
	"github.com/m3o/backend/pkg/platform/profile"
	platform "github.com/m3o/backend/pkg/platform/server"
	"github.com/m3o/backend/pkg/platform/state"
)

func databaseFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name: "database", Usage: "The address of a database of PostgreSQL that a service has for itself; may be given more than once",
	}
}

func backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", Usage: "Back the platform up, running or not: micro backup platform.tar",
		Description: "The file has the platform's keys and everything that its customers have entrusted to it: keep it accordingly.",
		Flags: []cli.Flag{platform.StateFlag(), databaseFlag(), &cli.DurationFlag{
			Name: "max-pause", Usage: "Let the platform stand still for this long at most", Value: backup.DefaultMaxPause,
		}},
		Action: func(ctx *cli.Context) error {
			return withArchive(ctx, func(stop context.Context, c backup.Config) error {
				c.State, c.MaxPause = state.Dir(), ctx.Duration("max-pause")
				m, err := backup.Create(stop, c)
				if err == nil {
					fmt.Printf("%s: %s; the platform stood still for %d ms\n", c.Archive, inside(m), m.Frozen)
				}
				return err
			})
		},
	}
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "Make a platform from a backup, where there is none yet: micro restore --state DIRECTORY platform.tar",
		Flags: []cli.Flag{platform.StateFlag(), databaseFlag()},
		Action: func(ctx *cli.Context) error {
			return withArchive(ctx, func(stop context.Context, c backup.Config) error {
				c.State = state.Dir()
				m, err := backup.Restore(stop, c)
				if err == nil {
					fmt.Printf("%s: %s, of %s; start it with: micro server --state %s\n",
						c.State, inside(m), m.Taken.Format(time.RFC3339), c.State)
				}
				return err
			})
		},
	}
}

// withArchive does something with the file that is the command's only argument, until somebody has had enough.
func withArchive(ctx *cli.Context, do func(context.Context, backup.Config) error) error {
	if ctx.Args().Len() != 1 {
		return errors.New("expected one file, behind the flags")
	}
	if err := profile.Check(); err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	err := do(stop, backup.Config{Archive: ctx.Args().First(), Databases: ctx.StringSlice("database"), Program: version()})
	if err != nil && os.IsNotExist(err) {
		return fmt.Errorf("there is no such file: %w", err)
	}
	return err
}

// inside says what an archive has.
func inside(m *backup.Manifest) string {
	return fmt.Sprintf("%d files, %d databases of PostgreSQL and %d topics of Redis, %.1f MB together",
		len(m.Files), len(m.Databases), len(m.Topics), float64(m.Bytes())/1e6)
}
