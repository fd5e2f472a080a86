//go:build platform

package postgres

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy is before a server, and can keep silent for it.
type proxy struct {
	address string
	lock    sync.Mutex
	silent  chan struct{} // closed when the connections that there are say no more
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{address: listener.Addr().String(), silent: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.lock.Lock()
			silent := p.silent
			p.lock.Unlock()
			wg.Go(func() { p.copy(client, upstream, silent) })
			wg.Go(func() { p.copy(upstream, client, silent) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		wg.Wait()
	})
	return p
}

// silence has the connections that there are stay open, and nothing come through them any more. New ones are as usual.
func (p *proxy) silence() {
	p.lock.Lock()
	defer p.lock.Unlock()
	close(p.silent)
	p.silent = make(chan struct{})
}

func (p *proxy) copy(to, from net.Conn, silent <-chan struct{}) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		select {
		case <-silent:
			continue // until its end
		default:
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			break
		}
	}
	_, _ = to.Close(), from.Close()
}
