package server

import (
	"fmt"

	"github.com/micro/micro/v3/service/auth"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
)

// loadKeys makes the platform's keys when there are none yet, before any process that needs them is started.
func loadKeys() (token.Root, error) {
	if err := token.Create(state.Keys()); err != nil {
		return nil, fmt.Errorf("make the keys that tokens are signed with: %w", err)
	}
	return token.LoadRoot(state.Keys())
}

// logIn gives this process an identity of its own: it asks for what it has started, and starts what it has built. It
// takes until the auth service is there.
func logIn() error {
	root, err := token.LoadRoot(state.Keys())
	if err != nil {
		return err
	}
	if _, err := auth.Token(auth.WithCredentials(access.Platform, root.Secret(access.Platform))); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return launch.Patient()
}
