//go:build platform

package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/storetest"
)

// quick are arguments of a server that does not wait for the disk, which matters only when the machine stops.
var quick = []string{"-c", "fsync=off"}

// server starts a server of the test's own.
func server(t *testing.T, args ...string) (s *engine.Server, dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // PostgreSQL may run as another user, who has to get through
	s, err := engine.Postgres(t.Context(), engine.Config{Dir: dir, Args: args})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s, dir
}

// exec has the superuser do something.
func exec(t *testing.T, address string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	for _, statement := range statements {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// with changes an address.
func with(t *testing.T, address string, change func(u *url.URL, query url.Values)) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	change(u, query)
	u.RawQuery = query.Encode()
	return u.String()
}

// refuses makes sure that a database cannot be opened, soon and with these words.
func refuses(t *testing.T, address string, words ...string) {
	t.Helper()
	began := time.Now()
	db, err := Open(t.Context(), Config{Address: address})
	if err == nil {
		db.Close()
	}
	require.Error(t, err)
	require.Less(t, time.Since(began), openTimeout+2*time.Second)
	require.True(t, strings.HasPrefix(err.Error(), Variable+": "), err.Error())
	require.NotContains(t, err.Error(), "\n")
	for _, word := range words {
		require.Contains(t, err.Error(), word)
	}
	for _, secret := range []string{"secret", "somebody"} {
		require.NotContains(t, err.Error(), secret)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	refuses(t, fmt.Sprintf("postgres://somebody@%s/db", closed.Addr()), "cannot be reached", "connection refused", closed.Addr().String())
	refuses(t, fmt.Sprintf("postgres://somebody@%s/db?sslmode=disable", closed.Addr()), "cannot be reached", "connection refused")
	refuses(t, "postgres://somebody@host.invalid/db", "cannot be reached", "host.invalid")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	refuses(t, fmt.Sprintf("postgres://somebody@%s/db?sslmode=disable", silent.Addr()), "does not answer in time", silent.Addr().String())
	refuses(t, fmt.Sprintf("postgres://somebody@%s/db", silent.Addr()), "does not answer in time")
}

func TestRefused(t *testing.T) { //nolint:paralleltest // the environment
	s, dir := server(t, quick...)
	admin := s.Address()
	exec(t, admin, `CREATE ROLE somebody LOGIN PASSWORD 'secret'`, `CREATE ROLE poor LOGIN`, `CREATE DATABASE platform OWNER somebody`,
		`CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`)

	// The language of the database does not matter.
	latin := openAt(t, with(t, admin, func(u *url.URL, _ url.Values) { u.Path = "/latin" })).Store()
	require.NoError(t, latin.Write(&store.Record{Key: "\xff日本"}))
	keys, err := latin.List()
	require.NoError(t, err)
	require.Equal(t, []string{"\xff日本"}, keys)

	refuses(t, with(t, admin, func(u *url.URL, _ url.Values) { u.Path = "/none" }), "no database of that name")
	poor := func(u *url.URL, _ url.Values) { u.User = url.User("poor") }
	refuses(t, with(t, admin, poor), "may not make or use", "permission denied for schema public")
	refuses(t, with(t, admin, func(_ *url.URL, q url.Values) { q.Set("sslmode", "require") }), "TLS", "check the sslmode")
	readOnly := func(_ *url.URL, q url.Values) { q.Set("options", "-c default_transaction_read_only=on") }
	refuses(t, with(t, admin, readOnly), "takes no changes at the moment")
	exec(t, admin, `ALTER ROLE poor CONNECTION LIMIT 0`)
	refuses(t, with(t, admin, poor), "no connection left")

	require.NoError(t, s.Stop())
	hba := "host all postgres 127.0.0.1/32 trust\nhost platform somebody 127.0.0.1/32 scram-sha-256\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "pg_hba.conf"), []byte(hba), 0o600))
	require.NoError(t, s.Start(t.Context()))
	somebody := with(t, admin, func(u *url.URL, _ url.Values) { u.User, u.Path = url.User("somebody"), "/platform" })
	const letIn = "does not let the user in: check the user and the sslmode of the address, the password in PGPASSFILE or PGPASSWORD"
	refuses(t, somebody, letIn)
	t.Setenv("PGPASSWORD", "wrong secret")
	refuses(t, somebody, letIn)
	refuses(t, with(t, somebody, func(u *url.URL, _ url.Values) { u.Path = "/postgres" }), letIn)
	t.Setenv("PGPASSWORD", "secret")
	require.NoError(t, openAt(t, somebody).Check(t.Context()))

	// A newer program was here.
	exec(t, with(t, admin, func(u *url.URL, _ url.Values) { u.Path = "/platform" }),
		`INSERT INTO store_migrations (version_id, is_applied) VALUES (99, true)`)
	refuses(t, somebody, "the database of store is at migration 99 and this binary knows 2: run a newer binary")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, dir := server(t, quick...)
	require.NoError(t, s.Stop())
	ca := certificate(t, filepath.Join(dir, "data"))
	conf, err := os.OpenFile(filepath.Join(dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = conf.WriteString("\nssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n")
	require.NoError(t, err)
	require.NoError(t, conf.Close())
	require.NoError(t, s.Start(t.Context()))

	mode := func(mode, ca string) string {
		return with(t, s.Address(), func(_ *url.URL, q url.Values) { q.Set("sslmode", mode); q.Set("sslrootcert", ca) })
	}
	require.NoError(t, openAt(t, mode("verify-full", ca)).Check(t.Context()))
	other := certificate(t, t.TempDir())
	refuses(t, mode("verify-full", other), "cannot be reached", "certificate", "check the sslmode, sslrootcert, sslcert and sslkey")
}

// certificate makes a certificate for 127.0.0.1 that has signed itself, and its key, in a directory of the server's user.
func certificate(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(dir, "server.crt")
	write := func(file, kind string, content []byte) {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		if owner, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil && os.Geteuid() == 0 {
			stat := owner.Sys().(*syscall.Stat_t)
			require.NoError(t, os.Chown(file, int(stat.Uid), int(stat.Gid)))
		}
	}
	write(file, "CERTIFICATE", der)
	write(filepath.Join(dir, "server.key"), "PRIVATE KEY", pkcs8)
	return file
}

// All processes of a platform start at once.
func TestOpensAtOnce(t *testing.T) {
	t.Parallel()
	address := with(t, databasetest.PostgreSQL(t).Address(), func(_ *url.URL, q url.Values) { q.Set("pool_max_conns", "3") })
	failed := make(chan error, 8)
	for range cap(failed) {
		go func() {
			db, err := Open(t.Context(), Config{Address: address})
			if err == nil {
				err = db.Store().Write(&store.Record{Key: "a"})
				db.Close()
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		require.NoError(t, <-failed)
	}
}

// One connection is enough, and what waits for one is served in turn.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	address := with(t, databasetest.PostgreSQL(t).Address(), func(_ *url.URL, q url.Values) { q.Set("pool_max_conns", "1") })
	db := openAt(t, address)
	storetest.Run(t, func(*testing.T) store.Store { return db.Store() })
}
