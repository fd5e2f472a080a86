//go:build platform

package endpoint_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/endpoint"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/etcd"
	"github.com/m3o/backend/pkg/platform/postgres"
	"github.com/m3o/backend/pkg/platform/redis"
	"github.com/m3o/backend/pkg/service/mtls/mtlstest"
)

// secured is an engine that wants a certificate of its clients.
type secured struct {
	// start starts it with the certificates in a directory, which it is told.
	start func(t *testing.T, dir string) *engine.Server
	// open connects with the certificates in a directory, or with none, and returns what checks that all is well.
	open func(t *testing.T, host, dir string) (check func(context.Context) error, err error)
}

// TestEnginesWithCertificates: each engine wants a certificate of its clients, and the authority of both sides is replaced while a
// client is connected.
func TestEnginesWithCertificates(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]secured{
		"etcd": {startEtcd, openEtcd}, "Redis": {startRedis, openRedis}, "PostgreSQL": {startPostgres, openPostgres},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := t.TempDir(), reachable(t)
			first, second := mtlstest.NewCA(t), mtlstest.NewCA(t)
			hour := time.Now().Add(time.Hour)
			certify(t, first, server)
			first.Issue(t, client, hour, "postgres")
			s := e.start(t, server)
			t.Cleanup(func() { require.NoError(t, s.Stop()) })

			check, err := e.open(t, s.Host(), client)
			require.NoError(t, err)
			require.NoError(t, check(t.Context()))
			stranger := t.TempDir()
			second.Issue(t, stranger, hour, "postgres")
			mtlstest.Believe(t, stranger, first)
			_, err = e.open(t, s.Host(), stranger)
			require.ErrorContains(t, err, "_ADDRESS: ", "of another authority")

			second.Issue(t, client, hour, "postgres")
			require.NoError(t, s.Kill())
			certify(t, second, server)
			require.NoError(t, s.Start(t.Context()))
			require.Eventually(t, func() bool { return check(t.Context()) == nil }, 20*time.Second, 50*time.Millisecond)
		})
	}
}

func parameters(dir string) string {
	return fmt.Sprintf("ca=%[1]s/ca.pem&cert=%[1]s/cert.pem&key=%[1]s/key.pem", dir)
}

func parse(t *testing.T, address string, schemes map[string]bool) endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse(address, endpoint.Syntax{Schemes: schemes, Path: true, Port: "1", Example: address})
	require.NoError(t, err)
	return e
}

// reachable is a directory for what a server reads, which may run as another user.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "certificates-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// certify makes the certificate of a server.
func certify(t *testing.T, ca *mtlstest.CA, dir string) {
	t.Helper()
	ca.Issue(t, dir, time.Now().Add(time.Hour), "127.0.0.1")
	owner, err := os.Stat(dir)
	require.NoError(t, err)
	give(t, dir, owner)
}

// give gives a directory of certificates to whom something else belongs.
func give(t *testing.T, dir string, owner os.FileInfo) {
	t.Helper()
	stat := owner.Sys().(*syscall.Stat_t)
	for _, file := range []string{".", "cert.pem", "key.pem", "ca.pem"} {
		require.NoError(t, os.Chown(filepath.Join(dir, file), int(stat.Uid), int(stat.Gid)))
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // it was only to be had
	return l.Addr().(*net.TCPAddr).Port
}

func startEtcd(t *testing.T, dir string) *engine.Server {
	t.Helper()
	port := freePort(t)
	url := "https://127.0.0.1:" + strconv.Itoa(port)
	s, err := engine.Etcd(t.Context(), engine.Config{Dir: t.TempDir(), Port: port, Args: []string{
		"--listen-client-urls", url, "--advertise-client-urls", url, "--client-cert-auth",
		"--cert-file", dir + "/cert.pem", "--key-file", dir + "/key.pem", "--trusted-ca-file", dir + "/ca.pem",
	}})
	require.NoError(t, err)
	return s
}

func openEtcd(t *testing.T, host, dir string) (func(context.Context) error, error) {
	t.Helper()
	r, err := etcd.Open(etcd.Config{Endpoint: parse(t, "etcds://"+host+"/test?"+parameters(dir), map[string]bool{"etcds": true})})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Check, nil
}

func startRedis(t *testing.T, dir string) *engine.Server {
	t.Helper()
	port := freePort(t)
	s, err := engine.Redis(t.Context(), engine.Config{Dir: t.TempDir(), Port: port, Args: []string{
		"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes",
		"--tls-cert-file", dir + "/cert.pem", "--tls-key-file", dir + "/key.pem", "--tls-ca-cert-file", dir + "/ca.pem",
	}})
	require.NoError(t, err)
	return s
}

func openRedis(t *testing.T, host, dir string) (func(context.Context) error, error) {
	t.Helper()
	s, err := redis.OpenStream(redis.Config{Endpoint: parse(t, "rediss://"+host+"?"+parameters(dir), map[string]bool{"rediss": true})})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.Check, nil
}

// startPostgres starts it a second time, as it has to make the files first that it is configured with.
func startPostgres(t *testing.T, dir string) *engine.Server {
	t.Helper()
	home := reachable(t)
	s, err := engine.Postgres(t.Context(), engine.Config{Dir: home, Args: []string{"-c", "fsync=off"}})
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	data := filepath.Join(home, "data")
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conf, "\nssl = on\nssl_cert_file = '%[1]s/cert.pem'\nssl_key_file = '%[1]s/key.pem'\nssl_ca_file = '%[1]s/ca.pem'\n", dir)
	require.NoError(t, err)
	require.NoError(t, conf.Close())
	require.NoError(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("hostssl all all all cert\n"), 0))
	// It may run as a user of its own, and its key is for nobody else.
	owner, err := os.Stat(data)
	require.NoError(t, err)
	give(t, dir, owner)
	require.NoError(t, s.Start(t.Context()))
	return s
}

func openPostgres(t *testing.T, host, dir string) (func(context.Context) error, error) {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{Address: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=verify-full"+
		"&sslrootcert=%[2]s/ca.pem&sslcert=%[2]s/cert.pem&sslkey=%[2]s/key.pem", host, dir)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(db.Close)
	return db.Check, nil
}
