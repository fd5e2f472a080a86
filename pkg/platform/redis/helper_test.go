//go:build platform

package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
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

// certify makes a certificate for this machine that vouches for itself, and returns the files that have it and its key.
func certify(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	return certificate, key
}
