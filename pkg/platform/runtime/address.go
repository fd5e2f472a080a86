package runtime

import (
	"errors"
	"fmt"
	"net"

	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/platform/state"
)

// choose returns the address a service is to listen at: the one it had before, if nobody else has taken it meanwhile.
func choose(before string) (string, error) {
	for _, candidate := range []string{before, net.JoinHostPort(state.Host, "0")} {
		if candidate == "" {
			continue
		}
		l, err := net.Listen("tcp", candidate)
		if err != nil {
			continue
		}
		return l.Addr().String(), l.Close()
	}
	return "", fmt.Errorf("no free port on %s", state.Host)
}

// An address has a record of its own: it changes when a process starts, which what is to run does not.
func addressKey(name string) string { return "address:" + name }

func (r *Runtime) readAddress(name string) (string, error) {
	found, err := r.config.Store.Read(addressKey(name))
	if errors.Is(err, store.ErrNotFound) || err == nil && len(found) == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read where %s listens: %w", name, err)
	}
	return string(found[0].Value), nil
}

func (r *Runtime) writeAddress(name, address string) error {
	if err := r.config.Store.Write(&store.Record{Key: addressKey(name), Value: []byte(address)}); err != nil {
		return fmt.Errorf("remember where %s listens: %w", name, err)
	}
	return nil
}
