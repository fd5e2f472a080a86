package faultproxy

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what happens at once on a machine that has time for it.
const patience = 5 * time.Second

// echo is a server that says what it hears, until it hears no more.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})
	return listener.Addr().String()
}

func newProxy(t *testing.T) *Proxy {
	t.Helper()
	p, err := Listen(1)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.Zero(t, p.Links())
	})
	p.To(echo(t))
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// say says something and returns after how long it has come back.
func say(t *testing.T, conn net.Conn, within time.Duration) (time.Duration, error) {
	t.Helper()
	begun := time.Now()
	if err := conn.SetDeadline(begun.Add(within)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return 0, err
	}
	answer := make([]byte, 5)
	_, err := io.ReadFull(conn, answer)
	if err == nil {
		assert.Equal(t, "hello", string(answer))
	}
	return time.Since(begun), err
}

func TestPass(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	_, err := say(t, conn, patience)
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the end gets through, and comes back")
	require.Eventually(t, func() bool { return p.Links() == 0 }, patience, time.Millisecond)
}

func TestCut(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	_, err := say(t, conn, patience)
	require.NoError(t, err)
	p.Set(Weather{Cut: true})
	_, err = say(t, conn, patience)
	require.Error(t, err)
	_, err = say(t, dial(t, p), patience)
	require.Error(t, err)
	p.Set(Weather{})
	_, err = say(t, dial(t, p), patience)
	require.NoError(t, err)
}

func TestHold(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	p.Set(Weather{Hold: true})
	_, err := say(t, conn, 100*time.Millisecond)
	require.ErrorContains(t, err, "timeout")
	p.Set(Weather{})
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	answer := make([]byte, 5)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err, "what was held arrives")
	_, err = say(t, conn, patience)
	require.NoError(t, err)
}

func TestDelay(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	p.Set(Weather{Delay: 100 * time.Millisecond})
	took, err := say(t, conn, patience)
	require.NoError(t, err)
	require.GreaterOrEqual(t, took, 200*time.Millisecond)
}

func TestLoss(t *testing.T) {
	p := newProxy(t)
	p.Set(Weather{Loss: 1})
	const all = 20
	var talking sync.WaitGroup
	var died atomic.Int64
	for range all {
		conn := dial(t, p)
		talking.Go(func() {
			took, err := say(t, conn, patience)
			if err != nil {
				died.Add(1)
				return
			}
			assert.GreaterOrEqual(t, took, 400*time.Millisecond, "both ways it is late")
		})
	}
	talking.Wait()
	require.Positive(t, died.Load(), "some die of it")
	require.Less(t, died.Load(), int64(all))
}

func TestHalfClose(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	_, err := say(t, conn, patience)
	require.NoError(t, err)
	p.HalfClose()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = say(t, dial(t, p), patience)
	require.NoError(t, err, "new ones are whole")
}

// Nothing is left when it is closed while everything is held.
func TestCloseWhileHeld(t *testing.T) {
	p := newProxy(t)
	conn := dial(t, p)
	p.Set(Weather{Hold: true})
	_, err := say(t, conn, 50*time.Millisecond)
	require.Error(t, err)
}
