package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/netutil"
)

// generous is longer than anything here takes, and short the time that slow callers have.
const (
	generous = 20 * time.Second
	short    = 100 * time.Millisecond
)

// listen serves the handler on a real socket and returns its address.
func listen(t *testing.T, h http.Handler, connections int, l limits) string {
	t.Helper()
	return listenFor(t, h, generous, connections, l)
}

// listenFor is listen for services that may take so long.
func listenFor(t *testing.T, h http.Handler, timeout time.Duration, connections int, l limits) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := newServer(h, timeout, l)
	done := make(chan error, 1)
	go func() { done <- server.Serve(netutil.LimitListener(listener, connections)) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return listener.Addr().String()
}

// connection is one that is written to by hand.
func connection(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(generous)))
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func receive(t *testing.T, c net.Conn, method string) reply {
	t.Helper()
	a, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	require.NoError(t, err)
	return read(t, a)
}

func TestWhoeverSendsAHeaderTooSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	c := connection(t, listen(t, h, 10, limits{header: short, request: generous, idle: generous}))
	send(t, c, "POST /customers/Create HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	b, err := io.ReadAll(c)
	require.NoError(t, err, "the end, and no timeout of ours")
	require.Empty(t, b)
	require.Zero(t, client.calls)
}

func TestWhoeverSendsABodyTooSlowlyIsTold(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	c := connection(t, listen(t, h, 10, limits{header: short, request: 2 * short, idle: generous}))
	send(t, c, "POST /customers/Create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
	a := receive(t, c, "POST")
	requireError(t, a, 408, "body: it did not arrive in time")
	require.True(t, a.Close)
	require.Zero(t, client.calls)
}

func TestWhoeverReadsAnAnswerTooSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	failure := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<20)) // more than sockets buffer
		failure <- err
	})
	c := connection(t, listenFor(t, h, short, 10, limits{header: generous, request: short, answer: short, idle: generous}))
	send(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.ErrorIs(t, <-failure, os.ErrDeadlineExceeded)
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	c := connection(t, listen(t, h, 10, limits{header: generous, request: generous, idle: short}))
	send(t, c, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(b), "\r\n\r\n"), "a HEAD has no body: %s", b)
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	address := listen(t, h, 1, defaultLimits)
	first, second := connection(t, address), connection(t, address)
	for range 2 {
		send(t, first, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.Equal(t, 200, receive(t, first, "GET").StatusCode)
	}
	send(t, second, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, second.SetReadDeadline(time.Now().Add(short)))
	_, err := second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it waits")
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(generous)))
	require.Equal(t, 200, receive(t, second, "GET").StatusCode)
}

// Over a real connection, what is refused is refused in JSON, too, and what comes after it is not taken for a request.
func TestRefusalsOverTheWire(t *testing.T) {
	t.Parallel()
	client, h := setup(t, services{})
	address := listen(t, h, 10, defaultLimits)
	for _, c := range []struct {
		name, request string
		code          int
		closes        bool
	}{
		{"other host", "POST /customers/Create HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 2\r\n\r\n{}", 421, false},
		{"no host", "POST /customers/Create HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", 421, true},
		{"host in the line", "POST http://rebound.example/customers/Create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 421, false},
		{"large header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", maxHeader) + "\r\n\r\n", 431, false},
		{"long URI", "GET /" + strings.Repeat("x", maxURI) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, false},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, false},
		{"connect", "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, false},
		{"large body", "POST /customers/Create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n" + strings.Repeat("x", 101), 413, true},
		{"large in chunks", "POST /customers/Create HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101), 413, true},
		{"bad chunks", "POST /customers/Create HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := connection(t, address)
			send(t, conn, c.request)
			a := receive(t, conn, "POST")
			requireError(t, a, c.code, "")
			require.Equal(t, c.closes, a.Close)
		})
	}
	t.Cleanup(func() { require.Zero(t, client.calls) })
}

// The address that a connection came in at is a good host, whatever it is.
func TestTheOwnAddressIsAGoodHost(t *testing.T) {
	t.Parallel()
	_, h := setup(t, services{})
	c := connection(t, listen(t, h, 10, defaultLimits))
	send(t, c, "GET / HTTP/1.1\r\nHost: "+c.RemoteAddr().String()+"\r\n\r\n")
	require.Equal(t, 200, receive(t, c, "GET").StatusCode)
}
