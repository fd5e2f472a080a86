package edge

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/micro/micro/v3/service/errors"
)

const localhost = "localhost"

// knownHosts refuses requests to a host that is not ours. A page of another site can make its own name point to this
// machine, and its browser takes the API for part of that site then; only the name in the request tells.
func knownHosts(hosts []string) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			usual := r.Host == localhost || slices.Contains(hosts, r.Host) // as most write it, which costs little to find out
			if !usual && !isKnownHost(r.Host, hosts, localAddress(r)) {
				fail(w, r, errors.New(id, "Host: this is no name of the API", http.StatusMisdirectedRequest))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// isKnownHost tells whether a Host header, with or without a port, is a loopback name, one of hosts, or the address that
// the request came in at: no name can be made to look like an address.
func isKnownHost(header string, hosts []string, local netip.Addr) bool {
	host, ok := hostOf(header)
	if !ok {
		return false
	}
	if host == localhost || slices.Contains(hosts, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.Unmap() == local)
}

// hostOf is the host that a Host header names, as it is compared: in small letters, without port, brackets and the dot
// at the end of a full name.
func hostOf(header string) (string, bool) {
	host := strings.ToLower(header)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if !isPort(host[i+1:]) {
			return "", false
		}
		host = host[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return inner, ok && isHost(inner) && strings.Contains(inner, ":")
	}
	host = strings.TrimSuffix(host, ".")
	return host, isHost(host) && !strings.Contains(host, ":")
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// localAddress is the address of this machine that the request came in at; invalid where that is not known.
func localAddress(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap().WithZone("")
}
