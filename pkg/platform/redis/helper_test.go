//go:build platform

package redis

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/supervisor"
)

// command returns a client of a server, for what a stream does not do.
func command(t testing.TB, server *engine.Server) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Host(), Protocol: 2})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// sentinelOf starts a Sentinel that watches a server, which it calls main, and returns where it is.
func sentinelOf(t testing.TB, server *engine.Server) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(host)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "sentinel.conf") // without one, which it writes to, it does not start
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 10000\n", port, server.Port())
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	sentinel := exec.CommandContext(t.Context(), "redis-server", file, "--sentinel")
	require.NoError(t, supervisor.StartTied(sentinel))
	t.Cleanup(func() {
		_ = sentinel.Process.Kill()
		_ = sentinel.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond)
	return host
}

func sentinelClient(t testing.TB, host string) *redis.SentinelClient {
	t.Helper()
	client := redis.NewSentinelClient(&redis.Options{Addr: host, Protocol: 2})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}
