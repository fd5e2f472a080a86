// Package faultproxy is a TCP proxy that does to connections what networks do: it cuts them, holds them, slows them down, loses
// some of them and closes one half. What it does can be changed at any time, for the connections that there are and for new ones.
package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Weather is what a proxy does to its connections. The zero value lets everything pass.
type Weather struct {
	// Cut resets the connections that there are, and new ones at once.
	Cut bool
	// Hold keeps everything back, in both directions, until the weather changes: as when packets are lost and sent again.
	// New connections are made and held.
	Hold bool
	// Delay is how much later everything arrives.
	Delay time.Duration
	// Loss is how often, of all pieces that are read, one has to be sent again: it and all that follow it arrive up to a
	// second later, and of ten such connections one is reset.
	Loss float64
}

// Proxy is a proxy before one server.
type Proxy struct {
	listener *net.TCPListener
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string
	weather Weather
	changed chan struct{} // closed when the weather changes
	links   map[*link]struct{}
	random  *rand.Rand
	closed  bool
}

// Listen starts a proxy on a free port of the loopback. It resets everybody until it is told where to go. What is drawn at
// random comes from the seed.
func Listen(seed uint64) (*Proxy, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	p := &Proxy{
		listener: listener, changed: make(chan struct{}), links: make(map[*link]struct{}),
		random: rand.New(rand.NewPCG(seed, 0)),
	}
	p.running.Go(p.accept)
	return p, nil
}

// Address is where it listens, as 127.0.0.1:12345.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// To says where new connections go from now on.
func (p *Proxy) To(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Set changes the weather.
func (p *Proxy) Set(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	close(p.changed)
	p.changed = make(chan struct{})
	if w.Cut {
		for l := range p.links {
			l.reset()
		}
	}
}

// HalfClose ends what the server says on the connections that there are, and only that: clients read the end of the
// stream, and what they say still gets through.
func (p *Proxy) HalfClose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		_ = l.client.CloseWrite() // it may have ended by itself
	}
}

// Links is how many connections there are.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close resets all connections, and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Set(Weather{Cut: true})
	err := p.listener.Close()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if err != nil {
			return // it was closed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// now is the weather, and what is closed when it changes.
func (p *Proxy) now() (Weather, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.changed
}

// serve connects a client with the server, and returns when the connection is over.
func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	target, cut := p.target, p.weather.Cut || p.closed || p.target == ""
	p.mu.Unlock()
	if cut {
		resetConn(client)
		return
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", target)
	if err != nil {
		resetConn(client)
		return
	}
	l := &link{proxy: p, client: client, server: conn.(*net.TCPConn), gone: make(chan struct{})}
	p.mu.Lock()
	p.links[l] = struct{}{}
	if p.weather.Cut || p.closed { // meanwhile
		l.reset()
	}
	p.mu.Unlock()
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(l.server, l.client) })
	pumps.Go(func() { l.pump(l.client, l.server) })
	pumps.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	l.reset() // both halves have ended; this frees what is left
}

// lose draws whether a piece is lost, for how long it is late then, and whether the connection dies of it.
func (p *Proxy) lose(loss float64) (late time.Duration, dies bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if loss == 0 || p.random.Float64() >= loss {
		return 0, false
	}
	return time.Duration(200+p.random.IntN(800)) * time.Millisecond, p.random.IntN(10) == 0
}

func resetConn(c *net.TCPConn) {
	_ = c.SetLinger(0) // an RST instead of a FIN
	_ = c.Close()
}
