package mtls_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"

	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/mtls/mtlstest"
)

var later = func() time.Time { return time.Now().Add(time.Hour) }

// process is one with a certificate of its own, in a directory.
func process(t *testing.T, ca *mtlstest.CA, name string) (*mtls.Source, string) {
	t.Helper()
	dir := t.TempDir()
	ca.Issue(t, dir, later(), name)
	s, err := mtls.Open(dir, name)
	require.NoError(t, err)
	return s, dir
}

// meet has a client and a server shake hands, and returns what each of them thinks of it.
func meet(t *testing.T, client, server credentials.TransportCredentials) (clientErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() //nolint:errcheck // the test ends
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			var secured net.Conn
			if secured, _, err = server.ServerHandshake(conn); err == nil {
				_, _ = secured.Write([]byte("x"))
			}
			_ = conn.Close()
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close() //nolint:errcheck // the test ends
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	secured, _, err := client.ClientHandshake(ctx, listener.Addr().String(), conn)
	if err == nil { // it learns of its refusal when it reads
		_, err = secured.Read(make([]byte, 1))
	} else {
		_ = conn.Close()
	}
	return err, <-served
}

func TestWhoMayMeetWhom(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t), mtlstest.NewCA(t)
	billing, _ := process(t, ca, "billing")
	customers, dir := process(t, ca, "customers")
	stranger, strangers := process(t, other, "customers")

	c, s := meet(t, billing.Client("customers"), customers.Server())
	require.NoError(t, c)
	require.NoError(t, s)

	c, s = meet(t, customers.Client("customers"), billing.Server())
	require.ErrorContains(t, c, "does not prove to be the service customers")
	require.ErrorContains(t, c, "is valid for billing, not customers")
	require.Error(t, s)

	c, s = meet(t, billing.Client("customers"), stranger.Server())
	require.ErrorContains(t, c, "signed by unknown authority")
	require.Error(t, s)

	mtlstest.Believe(t, strangers, ca, other)
	c, s = meet(t, stranger.Client("customers"), customers.Server())
	require.Error(t, c)
	require.ErrorContains(t, s, "signed by unknown authority")

	// What an authority has signed may sign, too.
	between, _ := process(t, ca.Between(t), "usage")
	for _, pair := range [][2]credentials.TransportCredentials{
		{billing.Client("usage"), between.Server()}, {between.Client("customers"), customers.Server()},
	} {
		c, s = meet(t, pair[0], pair[1])
		require.NoError(t, c)
		require.NoError(t, s)
	}

	// With both authorities on both sides, the new one's certificates are good beside those of the old one.
	mtlstest.Believe(t, dir, ca, other)
	c, s = meet(t, stranger.Client("customers"), customers.Server())
	require.NoError(t, c)
	require.NoError(t, s)
}

func TestFilesAreReplaced(t *testing.T) {
	t.Parallel()
	ca, next := mtlstest.NewCA(t), mtlstest.NewCA(t)
	caller, callers := process(t, ca, "billing")
	server, dir := process(t, ca, "customers")
	good := func(why string) {
		t.Helper()
		c, s := meet(t, caller.Client("customers"), server.Server())
		require.NoError(t, c, why)
		require.NoError(t, s, why)
	}
	cert, key, bundle := filepath.Join(dir, mtls.CertFile), filepath.Join(dir, mtls.KeyFile), filepath.Join(dir, mtls.CAFile)
	was, err := os.ReadFile(key)
	require.NoError(t, err)

	elsewhere := t.TempDir()
	ca.Issue(t, elsewhere, later(), "customers")
	mtlstest.Write(t, key, read(t, filepath.Join(elsewhere, mtls.KeyFile)))
	good("a key without its certificate is not used yet")
	mtlstest.Write(t, cert, read(t, filepath.Join(elsewhere, mtls.CertFile)))
	good("both are")
	mtlstest.Write(t, key, was)
	mtlstest.Write(t, bundle, []byte("nothing"))
	good("what cannot be read is not used")
	require.NoError(t, os.Remove(cert))
	good("nor what is not there")

	next.Issue(t, dir, later(), "customers")
	c, _ := meet(t, caller.Client("customers"), server.Server())
	require.ErrorContains(t, c, "unknown authority")
	next.Issue(t, callers, later(), "billing")
	good("all of it was replaced, the authority too")
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return b
}

func TestExpired(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t)
	caller, callers := process(t, ca, "billing")
	server, dir := process(t, ca, "customers")
	ca.Issue(t, dir, time.Now().Add(-time.Second), "customers")
	c, _ := meet(t, caller.Client("customers"), server.Server())
	require.ErrorContains(t, c, "certificate has expired")
	ca.Issue(t, dir, later(), "customers")
	ca.Issue(t, callers, time.Now().Add(-time.Second), "billing")
	c, s := meet(t, caller.Client("customers"), server.Server())
	require.ErrorContains(t, c, "expired certificate")
	require.ErrorContains(t, s, "certificate has expired")
	ca.Issue(t, callers, later(), "billing")
	c, s = meet(t, caller.Client("customers"), server.Server())
	require.NoError(t, c)
	require.NoError(t, s)
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t)
	for name, tc := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"nothing":  {func(t *testing.T, dir string) { t.Helper(); require.NoError(t, os.RemoveAll(dir)) }, "cert.pem: no such file"},
		"no CA":    {func(t *testing.T, dir string) { t.Helper(); mtlstest.Write(t, dir+"/ca.pem", nil) }, "there is no certificate in .*/ca.pem"},
		"no key":   {func(t *testing.T, dir string) { t.Helper(); mtlstest.Write(t, dir+"/key.pem", nil) }, "cert.pem with .*/key.pem: "},
		"other CA": {func(t *testing.T, dir string) { t.Helper(); mtlstest.Believe(t, dir, mtlstest.NewCA(t)) }, "cert.pem does not go with .*/ca.pem: "},
		"not ours": {func(t *testing.T, dir string) { t.Helper(); ca.Issue(t, dir, later(), "billing") }, "cert.pem is not for customers: "},
		"too late": {func(t *testing.T, dir string) {
			t.Helper()
			ca.Issue(t, dir, time.Now().Add(-time.Minute), "customers")
		}, "cert.pem expired at .*: replace it"},
		"for an IP": {func(t *testing.T, dir string) { t.Helper(); ca.Issue(t, dir, later(), "127.0.0.1") }, "cert.pem is not for customers: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca.Issue(t, dir, later(), "customers")
			tc.change(t, dir)
			_, err := mtls.Open(dir, "customers")
			require.Error(t, err)
			require.Regexp(t, tc.want, err.Error())
		})
	}
}
