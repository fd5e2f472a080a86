// Package handler has the RPCs of mixpanel: each checks its request, calls the core and translates the answer.
package handler

import (
	"context"
	"errors"
	"time"

	pb "github.com/m3o/backend/mixpanel/proto"
)

// Core is what the RPCs need of the service's core.
type Core interface {
	// Now returns the present time.
	Now(context.Context) (time.Time, error)
}

// Mixpanel implements the RPC service of that name.
type Mixpanel struct{ core Core }

var _ pb.MixpanelHandler = (*Mixpanel)(nil)

// New returns the handler on a core.
func New(core Core) (*Mixpanel, error) {
	if core == nil {
		return nil, errors.New("handler: a core is needed")
	}
	return &Mixpanel{core: core}, nil
}
