package auth

import (
	"context"
	"net/netip"

	"github.com/micro/micro/v3/service/context/metadata"
)

// Origin is the address that a call came into the platform from, as the platform's doors say, or else that of the peer of the
// connection. It is no valid one where it cannot be read, and said is false where there is none, as of what comes from no call.
func Origin(ctx context.Context) (address netip.Addr, said bool) {
	text, ok := metadata.Get(ctx, "X-Forwarded-For")
	if !ok {
		text, ok = metadata.Get(ctx, "Remote")
	}
	if !ok {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, true
		}
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), true
}

// Network is by what calls from an address are counted together: who has one IPv6 address has a network of them, which counts as
// one, and all that cannot be read are one.
func Network(address netip.Addr) string {
	if !address.IsValid() {
		return "unknown"
	}
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}
