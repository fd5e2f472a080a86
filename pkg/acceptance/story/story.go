// Package story plays what the platform is for, step by step, each over the wire as a client would do it, and tells it as
// it happens: from an address to a bill. It is what `make demo` shows and what the acceptance test checks; where a step does
// not answer as it should, the story ends with an error.
package story

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"

	"github.com/m3o/backend/pkg/acceptance/client"
)

// Config is what a story needs.
type Config struct {
	// Client talks to a platform with all services, whose mails go to files and whose events go to the sink.
	Client *client.Client
	// Source is the root of this repository's source, which the service that is sold is built from.
	Source string
	// Out is where the story is told.
	Out io.Writer
}

// Play plays the story against a running platform. It makes a customer of its own, so that it can be played again and
// again, and by several at once.
func Play(ctx context.Context, cfg Config) error {
	if cfg.Client == nil || cfg.Source == "" || cfg.Out == nil {
		return errors.New("story: a client, the source and somebody to tell it to are needed")
	}
	name := strings.ToLower(rand.Text()[:12])
	s := &story{
		ctx: ctx, client: cfg.Client, source: cfg.Source, out: cfg.Out,
		email: "jane." + name + "@example.com", password: rand.Text(),
	}
	for _, chapter := range []func() error{
		s.sell, s.signUp, s.logIn, s.herself, s.strangers, s.makeKey, s.useKey, s.strayFromKey, s.seeUsage, s.runOut, s.subscribe,
		s.lookAfter, s.analyse, s.forget, s.ban, s.leave,
	} {
		if err := chapter(); err != nil {
			return err
		}
	}
	s.tell("That is the story.")
	return nil
}
