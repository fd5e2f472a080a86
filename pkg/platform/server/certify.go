package server

import (
	"context"
	"slices"
	"sync"

	"github.com/m3o/backend/pkg/platform/authority"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
)

// certify sees to the certificates of the server and the core services, if those of this state are ours to make, and keeps all of
// them good until it is told to end.
func certify(addresses state.Addresses) (end func(), err error) {
	end = func() {}
	if a := authority.Of(addresses); a != nil {
		if err := a.Begin(); err != nil {
			return nil, err
		}
		for _, name := range append(slices.Clone(coreServices), state.Operator) {
			if err := a.Issue(authority.Core, name); err != nil {
				return nil, err
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		var keeping sync.WaitGroup
		keeping.Go(func() { a.Keep(ctx) })
		end = func() {
			cancel()
			keeping.Wait()
		}
	}
	if err := profile.Secure(state.Operator); err != nil {
		end()
		return nil, err
	}
	return end, nil
}
