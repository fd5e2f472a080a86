package authority

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/mtls"
)

// fixture is an authority whose clock stands still.
type fixture struct {
	*Authority
	t     *testing.T
	clock time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{Authority: New(filepath.Join(dir, "authority"), filepath.Join(dir, "tls")), t: t, clock: time.Now()}
	f.now = func() time.Time { return f.clock }
	return f
}

func (f *fixture) file(name, file string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.certificates, name, file))
	require.NoError(f.t, err)
	return b
}

func (f *fixture) cert(name string) *x509.Certificate {
	f.t.Helper()
	c, err := readCertificate(filepath.Join(f.certificates, name, mtls.CertFile))
	require.NoError(f.t, err)
	return c
}

// believes tells whether one process believes another one, by the files that they have now.
func (f *fixture) believes(name string, c *x509.Certificate) bool {
	roots := x509.NewCertPool()
	require.True(f.t, roots.AppendCertsFromPEM(f.file(name, mtls.CAFile)))
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: f.clock})
	return err == nil
}

func TestIssue(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for kind, name := range map[Kind]string{Core: "auth", Service: "customers", Sold: "weather"} {
		require.NoError(t, f.Issue(kind, name))
		c := f.cert(name)
		require.Equal(t, []string{name}, c.DNSNames)
		require.Equal(t, "spiffe://micro/"+string(kind)+"/"+name, c.URIs[0].String())
		require.WithinDuration(t, f.clock.Add(Life), c.NotAfter, time.Second)
		_, err := mtls.Open(filepath.Join(f.certificates, name), name)
		require.NoError(t, err)
		for _, file := range []string{mtls.KeyFile, mtls.CertFile, mtls.CAFile} {
			info, err := os.Stat(filepath.Join(f.certificates, name, file))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}
	key := f.file("auth", mtls.KeyFile)
	require.NoError(t, f.Issue(Core, "auth"))
	require.NotEqual(t, key, f.file("auth", mtls.KeyFile), "a process that is started has a key of its own")

	require.NoError(t, f.Withdraw("weather"))
	require.NoError(t, f.Withdraw("weather"))
	require.NoDirExists(t, filepath.Join(f.certificates, "weather"))
	require.NoError(t, f.Begin())
	require.NoDirExists(t, f.certificates)
	require.NoError(t, f.Issue(Core, "auth"), "by the same authority")
	keys, err := filepath.Glob(filepath.Join(f.keys, "*.pem"))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	info, err := os.Stat(keys[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestRenew(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.Renew(), "there is nothing")
	require.NoError(t, f.Issue(Sold, "weather"))
	first, key := f.cert("weather"), f.file("weather", mtls.KeyFile)
	f.clock = f.clock.Add(Life/2 - 2*time.Minute)
	require.NoError(t, f.Renew())
	require.Equal(t, first, f.cert("weather"), "it is not time")
	f.clock = f.clock.Add(3 * time.Minute)
	require.NoError(t, f.Renew())
	second := f.cert("weather")
	require.WithinDuration(t, f.clock.Add(Life), second.NotAfter, time.Second)
	require.Equal(t, first.URIs, second.URIs)
	require.Equal(t, first.DNSNames, second.DNSNames)
	require.Equal(t, first.ExtKeyUsage, second.ExtKeyUsage)
	require.Equal(t, key, f.file("weather", mtls.KeyFile))

	// What is damaged does not keep others from it.
	require.NoError(t, f.Issue(Core, "auth"))
	require.NoError(t, os.Remove(filepath.Join(f.certificates, "auth", mtls.CertFile)))
	f.clock = f.clock.Add(Life * 3 / 4)
	require.ErrorContains(t, f.Renew(), "auth: ")
	require.True(t, f.clock.Before(half(f.cert("weather"))))
}

// Over several lives of authorities, everybody always believes everybody, whoever was renewed last.
func TestAuthoritiesFollowEachOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.Issue(Core, "auth"))
	signers := make(map[string]bool)
	for end := f.clock.Add(CALife * 7 / 4); f.clock.Before(end); {
		before := f.cert("auth")
		// One process was renewed in this minute and the other one is about to be.
		require.NoError(t, f.Issue(Service, "customers"))
		require.True(t, f.believes("auth", f.cert("customers")), "%s", f.clock)
		require.True(t, f.believes("customers", before), "%s", f.clock)
		require.NoError(t, f.Renew())
		signers[string(f.cert("auth").AuthorityKeyId)] = true
		f.clock = f.clock.Add(23 * time.Hour)
	}
	require.Len(t, signers, 4)
	kept, err := filepath.Glob(filepath.Join(f.keys, "*.pem"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(kept), 3, "those that have ended are forgotten")
}

func TestSeveralAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { // as if each were a process
			a := New(filepath.Join(dir, "authority"), filepath.Join(dir, "tls"))
			for range 10 {
				if err := a.Issue(Service, "customers"); err != nil {
					t.Error(err)
				}
				if err := a.Renew(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	_, err := mtls.Open(filepath.Join(dir, "tls", "customers"), "customers")
	require.NoError(t, err)
	keys, err := filepath.Glob(filepath.Join(dir, "authority", "*.pem"))
	require.NoError(t, err)
	require.Len(t, keys, 1)
}
