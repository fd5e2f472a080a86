//go:build platform

package engine

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const patience = 30 * time.Second

// place is a directory that PostgreSQL's user gets through to.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-*")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func ended(t *testing.T, s *Server, err error) *Server {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// ask says a line to a Redis server and returns the beginning of its answer.
func ask(t *testing.T, s *Server, line string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Host(), time.Second)
	require.NoError(t, err)
	defer conn.Close() //nolint:errcheck // nothing more is expected of it
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Second)))
	_, err = conn.Write([]byte(line + "\r\n"))
	require.NoError(t, err)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	return string(answer[:n])
}

func TestStandby(t *testing.T) {
	dir := place(t)
	s, err := Postgres(t.Context(), Config{Dir: filepath.Join(dir, "one")})
	one := ended(t, s, err)
	s, err = Postgres(t.Context(), Config{Dir: filepath.Join(dir, "two"), Follows: one.Host()})
	two := ended(t, s, err)
	require.NoError(t, one.AwaitStandby(t.Context()))
	_, err = one.SQL(t.Context(), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
	require.NoError(t, err)
	_, err = two.SQL(t.Context(), "INSERT INTO kept VALUES (8)")
	require.ErrorContains(t, err, "read-only")

	require.NoError(t, one.Kill())
	require.NoError(t, two.Promote(t.Context()))
	_, err = two.SQL(t.Context(), "INSERT INTO kept VALUES (8)")
	require.NoError(t, err, "it waits for nobody")
	require.NoError(t, one.Rejoin(t.Context(), two))
	require.NoError(t, two.AwaitStandby(t.Context()))
	_, err = two.SQL(t.Context(), "INSERT INTO kept VALUES (9)")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := one.SQL(t.Context(), "SELECT sum(n) FROM kept")
		return err == nil && strings.TrimSpace(got) == "24"
	}, patience, 50*time.Millisecond)
}

func TestSentinel(t *testing.T) {
	dir := place(t)
	s, err := Redis(t.Context(), Config{Dir: filepath.Join(dir, "one")})
	one := ended(t, s, err)
	s, err = Redis(t.Context(), Config{Dir: filepath.Join(dir, "two"), Follows: one.Host()})
	two := ended(t, s, err)
	s, err = Sentinel(t.Context(), Config{Dir: filepath.Join(dir, "sentinel"), Follows: one.Host()})
	sentinel := ended(t, s, err)
	require.Eventually(t, func() bool {
		return strings.Contains(ask(t, sentinel, "SENTINEL replicas main"), two.Host())
	}, patience, 50*time.Millisecond, "it hears of the replica")
	require.NoError(t, one.Pause())
	require.Eventually(t, func() bool { return strings.Contains(ask(t, two, "ROLE"), "master") }, patience, 50*time.Millisecond)
	require.NoError(t, one.Resume())
	require.Eventually(t, func() bool { return strings.Contains(ask(t, one, "ROLE"), "slave") }, patience, 50*time.Millisecond)
	require.NoError(t, one.Kill())
	require.NoError(t, one.Start(t.Context()))
	require.Contains(t, ask(t, one, "ROLE"), "slave", "it remembers whom it follows")
}

func TestEtcdCluster(t *testing.T) {
	dir := place(t)
	servers, err := EtcdCluster(t.Context(), Config{Dir: filepath.Join(dir, "1")},
		Config{Dir: filepath.Join(dir, "2")}, Config{Dir: filepath.Join(dir, "3")})
	for _, s := range servers {
		ended(t, s, err)
	}
	require.NoError(t, err)
	require.NoError(t, servers[0].Kill())
	require.False(t, servers[0].Running())
	require.Eventually(t, func() bool {
		return servers[1].kind.ready(t.Context(), servers[1]) && servers[2].kind.ready(t.Context(), servers[2])
	}, patience, 50*time.Millisecond, "two of three are enough")
	require.NoError(t, servers[0].Start(t.Context()))
}
