// Command demo plays the story against the platform that `make run` has started.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/acceptance/story"
	"github.com/m3o/backend/pkg/platform/state"
)

func main() {
	micro := flag.String("micro", filepath.Join("bin", "micro"), "the micro binary")
	dir := flag.String("state", "", "the platform's state directory (default: $"+state.Env+", or the nearest "+state.DirName+")")
	flag.Parse()
	if err := play(*dir, *micro); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(dir, micro string) error {
	dir, err := state.Locate(dir)
	if err != nil {
		return err
	}
	c, err := client.Local(dir, micro)
	if err != nil {
		return err
	}
	if _, err := c.Do(context.Background(), "GET", "/", ""); err != nil {
		return fmt.Errorf("nothing answers at %s: start the platform with make run (%w)", c.API, err)
	}
	return story.Play(context.Background(), story.Config{Client: c, Source: ".", Out: os.Stdout})
}
