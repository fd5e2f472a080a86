package runtime

import (
	"fmt"
	"net"

	"github.com/m3o/backend/pkg/platform/state"
)

// address is where a service listens: the same from start to start, for as long as nobody else takes it meanwhile.
type address string

// choose returns an address that is free now.
func (a *address) choose() (string, error) {
	for _, candidate := range []string{string(*a), net.JoinHostPort(state.Host, "0")} {
		if candidate == "" {
			continue
		}
		l, err := net.Listen("tcp", candidate)
		if err != nil {
			continue
		}
		*a = address(l.Addr().String())
		return string(*a), l.Close()
	}
	return "", fmt.Errorf("no free port on %s", state.Host)
}
