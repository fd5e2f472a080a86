package faultproxy

import (
	"net"
	"sync"
	"time"
)

// link is a connection of a client with the server.
type link struct {
	proxy          *Proxy
	client, server *net.TCPConn
	once           sync.Once
	gone           chan struct{}
}

// reset ends both halves at once.
func (l *link) reset() {
	l.once.Do(func() {
		close(l.gone)
		resetConn(l.client)
		resetConn(l.server)
	})
}

// piece is something that was read, and when.
type piece struct {
	data []byte
	read time.Time
}

// window is how many pieces are on their way at a time: what is delayed is not slower for it.
const window = 64

// pump carries what src says to dst until either ends. The end of src is carried on, and only that.
func (l *link) pump(dst, src *net.TCPConn) {
	pieces := make(chan piece, window)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 16<<10)
			n, err := src.Read(buffer)
			if n > 0 {
				select {
				case pieces <- piece{buffer[:n], time.Now()}:
				case <-l.gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	defer reading.Wait()
	for piece := range pieces {
		if !l.travel(piece.read) {
			return
		}
		if _, err := dst.Write(piece.data); err != nil {
			l.reset() // the other half has no use without this one
			return
		}
	}
	if l.travel(time.Now()) {
		_ = dst.CloseWrite() // it may be gone already
	}
}

// travel takes the time that a piece takes which was read at some time, and says whether the link still stands then.
func (l *link) travel(read time.Time) bool {
	w, changed := l.proxy.now()
	late, dies := l.proxy.lose(w.Loss)
	if dies {
		l.reset()
		return false
	}
	arrives := read.Add(w.Delay)
	if late > 0 {
		arrives = time.Now().Add(late)
	}
	for {
		var arrived <-chan time.Time
		if !w.Hold {
			wait := time.Until(arrives)
			if wait <= 0 {
				return !l.isGone()
			}
			arrived = time.After(wait)
		}
		select {
		case <-arrived:
			return !l.isGone()
		case <-changed:
			w, changed = l.proxy.now()
			arrives = time.Time{} // whatever it was that kept it is over
		case <-l.gone:
			return false
		}
	}
}

func (l *link) isGone() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}
