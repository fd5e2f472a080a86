package direct

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// redialBase and redialMost bound the wait between two attempts to reach a node that is away.
	redialBase = 100 * time.Millisecond
	redialMost = 2 * time.Second
	// dialTimeout is how long a node has to accept a connection.
	dialTimeout = 2 * time.Second
	// stable is how long a connection has to hold to be made again at once when it is lost.
	stable = time.Second
	// addressIdle is how long the connection to an address that callers name themselves is kept without a call.
	addressIdle = time.Minute
)

// How many bytes may be under way on a stream and on a connection without an acknowledgement, either way. gRPC would find
// them out by itself, with a ping for each call and its answer, which costs one call at a time a fifth of its speed.
const (
	StreamWindow     = 1 << 20
	ConnectionWindow = 16 << 20
)

// keepAlive finds out that a machine is gone which did not say so. gRPC's own pings would do the same, but servers that
// are not told to expect them end the connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// place is what there is one connection to: an address, and with TLS the service that has to prove to be there.
type place struct{ addr, service string }

// peer is a place and the one connection to it, over which all its calls go.
type peer struct {
	place
	pool *pool
	conn *grpc.ClientConn

	// refs counts who needs the connection: each list of nodes that the address is on, and each call. It is closed when
	// there is none, so that a node that leaves takes no call with it. As every list counts the same, refs also tells how
	// busy a node is.
	refs atomic.Int64
	// state is a connectivity.State.
	state atomic.Int32
	// aside is until when the node is not called as long as there are others, in nanoseconds since 1970; 0 is not at all.
	aside atomic.Int64
	// readySince is when the connection was made, in nanoseconds since 1970.
	readySince atomic.Int64
	// named says that a caller named the address since the last sweep.
	named atomic.Bool
	// namedFor is the service that was first called at the address by its name. It belongs to the pool's lock.
	namedFor string
}

// acquire adds a reference; false if the peer has none left and is being closed.
func (p *peer) acquire() bool {
	for {
		n := p.refs.Load()
		if n == 0 {
			return false
		}
		if p.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release takes a reference back.
func (p *peer) release() {
	if p.refs.Add(-1) == 0 {
		p.pool.remove(p)
		_ = p.conn.Close() // only fails when it is closed already
	}
}

// ready tells whether a call would go out at once.
func (p *peer) ready() bool {
	if connectivity.State(p.state.Load()) != connectivity.Ready {
		return false
	}
	aside := p.aside.Load()
	return aside == 0 || time.Now().UnixNano() >= aside
}

// failing tells whether the last attempt to connect has failed.
func (p *peer) failing() bool {
	return connectivity.State(p.state.Load()) == connectivity.TransientFailure
}

// setAside has others called for a while. A new connection ends it.
func (p *peer) setAside(d time.Duration) {
	p.aside.Store(time.Now().Add(d).UnixNano())
}

// changed takes in a new state of the connection; cause is why it is failing.
func (p *peer) changed(s connectivity.State, cause error) {
	was := connectivity.State(p.state.Swap(int32(s)))
	if was == s {
		return
	}
	p.pool.states.changed(p)
	switch s {
	case connectivity.Ready:
		p.aside.Store(0)
		p.readySince.Store(time.Now().UnixNano())
		p.pool.signal.raise()
	case connectivity.TransientFailure:
		logger.Warnf("No connection to %s, other nodes are called meanwhile: %v", p.addr, cause)
		p.pool.lost(p)
	case connectivity.Idle:
		if was != connectivity.Ready {
			return
		}
		// Find out at once whether it is still there, but not in a loop with one that accepts and hangs up.
		p.pool.lost(p)
		if time.Since(time.Unix(0, p.readySince.Load())) > stable {
			go p.conn.Connect()
		} else {
			time.AfterFunc(redialBase, p.conn.Connect)
		}
	default:
	}
}

// pool has the peers of a client by their place.
type pool struct {
	// secure is Config.Secure.
	secure func(service string) credentials.TransportCredentials
	// signal is raised when something has become reachable.
	signal signal
	// lost is told of a peer whose connection has gone.
	lost   func(*peer)
	states states

	mu     sync.RWMutex
	peers  map[place]*peer
	named  map[place]*peer // those that are kept because a caller named them, with a reference
	closed bool
}

func newPool(lost func(*peer), secure func(service string) credentials.TransportCredentials) *pool {
	return &pool{lost: lost, secure: secure, peers: make(map[place]*peer), named: make(map[place]*peer)}
}

// place is where an address of a service is.
func (o *pool) place(addr, service string) place {
	if o.secure == nil {
		service = ""
	}
	return place{addr, service}
}

// credentials are what a connection to a place is made with.
func (o *pool) credentials(at place) credentials.TransportCredentials {
	if o.secure == nil {
		return insecure.NewCredentials()
	}
	return o.secure(at.service)
}

// serviceConfig is what gRPC is told about every call. As an option of each call the same would be made anew each time.
var serviceConfig = fmt.Sprintf(`{
	"loadBalancingConfig": [{%q: {}}],
	"methodConfig": [{"name": [{}], "maxRequestMessageBytes": %d, "maxResponseMessageBytes": %d}]
}`, balancerName, MaxMessage, MaxMessage)

var errClosed = errors.New("the client is closed")

// get returns the peer at a place with a reference for the caller, and begins to connect if it is new.
func (o *pool) get(at place) (*peer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, errClosed
	}
	if p, ok := o.peers[at]; ok && p.acquire() {
		return p, nil
	}
	p := &peer{place: at, pool: o}
	p.refs.Store(1)
	conn, err := grpc.NewClient(scheme+":///"+at.addr,
		grpc.WithResolvers(resolverOf{p}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithTransportCredentials(o.credentials(at)),
		grpc.WithContextDialer(dial),
		grpc.WithIdleTimeout(0),
		grpc.WithStaticStreamWindowSize(StreamWindow),
		grpc.WithStaticConnWindowSize(ConnectionWindow),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialMost},
			MinConnectTimeout: dialTimeout,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", at.addr, err)
	}
	p.conn = conn
	o.peers[at] = p
	conn.Connect()
	return p, nil
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext(ctx, "tcp", addr)
}

// byAddress returns the peer at an address that a caller of a service has named, without a reference. It is kept for a while
// after.
func (o *pool) byAddress(addr, service string) (*peer, error) {
	at := o.place(addr, service)
	o.mu.RLock()
	p, ok := o.named[at]
	o.mu.RUnlock()
	if !ok {
		held, err := o.get(at)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		if p, ok = o.named[at]; !ok {
			p = held
			o.named[at], p.namedFor = p, service
			o.states.join(p, service)
		}
		o.mu.Unlock()
		if ok {
			held.release()
		}
	}
	if !p.named.Load() {
		p.named.Store(true)
	}
	return p, nil
}

// sweep lets go of the addresses that no caller has named since the last sweep.
func (o *pool) sweep() {
	var unused []*peer
	o.mu.Lock()
	for at, p := range o.named {
		if !p.named.Swap(false) {
			delete(o.named, at)
			unused = append(unused, p)
			o.states.leave(p, p.namedFor)
		}
	}
	o.mu.Unlock()
	for _, p := range unused {
		p.release()
	}
}

func (o *pool) remove(p *peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.peers[p.place] == p {
		delete(o.peers, p.place)
	}
}

// close closes every connection; calls that are under way fail.
func (o *pool) close() error {
	o.mu.Lock()
	o.closed = true
	peers := o.peers
	o.peers, o.named = make(map[place]*peer), make(map[place]*peer)
	o.mu.Unlock()
	o.states.end()
	var err error
	for _, p := range peers {
		err = errors.Join(err, p.conn.Close())
	}
	return err
}

// signal lets any number wait for the next time that something has happened.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns what is closed when the signal is raised the next time.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
