package direct

import (
	"errors"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

// What gRPC keeps to itself, and we have to know of each connection, is its state at the moment it changes, and whether
// a call that failed has ever left. Both pass through its balancer: ours is gRPC's own for a single address, watched.
const (
	scheme       = "direct"
	balancerName = "direct_peer"
)

func init() { //nolint:gochecknoinits // the only time at which gRPC takes a balancer
	balancer.Register(watchedBuilder{})
}

type peerKey struct{}

// resolverOf is gRPC's resolver for a peer: it knows the one address, and tells the balancer whose connection it is.
type resolverOf struct{ peer *peer }

// Build implements resolver.Builder.
func (r resolverOf) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return r, cc.UpdateState(resolver.State{
		Addresses:  []resolver.Address{{Addr: r.peer.addr}},
		Attributes: attributes.New(peerKey{}, r.peer),
	})
}

// Scheme implements resolver.Builder.
func (resolverOf) Scheme() string { return scheme }

// ResolveNow implements resolver.Resolver.
func (resolverOf) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements resolver.Resolver.
func (resolverOf) Close() {}

type watchedBuilder struct{}

// Name implements balancer.Builder.
func (watchedBuilder) Name() string { return balancerName }

// Build implements balancer.Builder.
func (watchedBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	w := &watchedConn{ClientConn: cc}
	return &watchedBalancer{Balancer: balancer.Get(pickfirst.Name).Build(w, opts), conn: w}
}

type watchedBalancer struct {
	balancer.Balancer
	conn *watchedConn
}

// UpdateClientConnState implements balancer.Balancer. gRPC calls it before anything else.
func (b *watchedBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	if p, ok := s.ResolverState.Attributes.Value(peerKey{}).(*peer); ok {
		b.conn.peer = p
	}
	return b.Balancer.UpdateClientConnState(s)
}

type watchedConn struct {
	balancer.ClientConn
	peer *peer
}

// UpdateState implements balancer.ClientConn.
func (c *watchedConn) UpdateState(s balancer.State) {
	var cause error
	if s.ConnectivityState == connectivity.TransientFailure {
		_, cause = s.Picker.Pick(balancer.PickInfo{})
		s.Picker = unreachable{s.Picker}
	}
	// A call that is told of the new state has to see what gRPC does by then, and the other way round.
	c.ClientConn.UpdateState(s)
	c.peer.changed(s.ConnectivityState, cause)
}

// unreachable refuses calls with an error that can be told from all others.
type unreachable struct{ balancer.Picker }

// Pick implements balancer.Picker.
func (u unreachable) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	r, err := u.Picker.Pick(info)
	if err != nil && !errors.Is(err, balancer.ErrNoSubConnAvailable) {
		return r, &notSentError{err}
	}
	return r, err
}

// notSentError is the error of a call for which there was no connection. gRPC asks for one before it encodes a message,
// and asks again only when the server has said that it did not look at the call: so nobody has worked on it.
type notSentError struct{ cause error }

func (e *notSentError) Error() string { return "no connection: " + e.cause.Error() }

// Unwrap returns why there was none.
func (e *notSentError) Unwrap() error { return e.cause }

// GRPCStatus makes gRPC return the error as it is.
func (e *notSentError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// notSent tells whether it is certain that nobody has worked on the call that err is of.
func notSent(err error) bool {
	_, ok := errors.AsType[*notSentError](err)
	return ok
}
