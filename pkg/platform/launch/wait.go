package launch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/runtime"

	"github.com/m3o/backend/pkg/platform/state"
)

// startTime is how long a service may take until it answers.
const startTime = time.Minute

// Wait returns when a service that Run has started answers a health check, or with the reason when it does not start.
func Wait(ctx context.Context, s Service) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("it does not answer; its log is in "+state.Logs()))
	defer cancel()
	return Poll(ctx, func() (bool, error) {
		if found, err := registry.GetService(s.Name); err == nil && len(found) > 0 {
			request := client.NewRequest(s.Name, "Debug.Health", &struct{}{}, client.WithContentType("application/json"))
			if err := client.Call(ctx, request, &struct{}{}); err == nil {
				return true, nil
			}
		}
		status, err := runtime.Read(runtime.ReadService(s.Name), runtime.ReadVersion(s.Version))
		if err == nil && len(status) == 1 && status[0].Status == runtime.Error && status[0].Metadata["restarts"] != "0" {
			return false, fmt.Errorf("it does not start: %s", strings.TrimPrefix(status[0].Metadata["error"], s.Name+": "))
		}
		return false, nil
	})
}

// Poll calls done every 20 ms until it is true or fails, or ctx ends, whose cause is then the error.
func Poll(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
