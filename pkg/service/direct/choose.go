package direct

import (
	"math/rand/v2"
	"slices"
)

// choose returns the less busy of two nodes that chance picks, so that no node is flooded because all callers believe it
// to be idle. Nodes that cannot be called at once are left out while there are others; those that the call has tried,
// always. It returns nil when there is none left.
func choose(nodes []*peer, tried []*peer) *peer {
	n := len(nodes)
	if n == 0 {
		return nil
	}
	i := 0
	if n > 1 {
		i = rand.IntN(n)      //nolint:gosec // no secret
		j := rand.IntN(n - 1) //nolint:gosec // no secret
		if j >= i {
			j++
		}
		a, b := nodes[i], nodes[j]
		aReady, bReady := usable(a, tried), usable(b, tried)
		switch {
		case aReady && bReady && b.refs.Load() < a.refs.Load():
			return b
		case aReady:
			return a
		case bReady:
			return b
		}
	}
	// The exception. Each of the rest has the same chance because i has.
	var connecting, failing *peer
	for k := range n {
		p := nodes[(i+k)%n]
		switch {
		case slices.Contains(tried, p):
		case p.ready():
			return p
		case !p.failing() && connecting == nil:
			connecting = p
		case failing == nil:
			failing = p
		}
	}
	if connecting != nil {
		return connecting
	}
	return failing
}

func usable(p *peer, tried []*peer) bool {
	return p.ready() && !slices.Contains(tried, p)
}
