//go:build platform

package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/m3o/backend/pkg/platform/engine"
)

// refused makes sure that a registry is not opened, within 5 seconds and with this error.
func refused(t *testing.T, want string) {
	t.Helper()
	config, err := ReadConfig()
	if err == nil {
		begin := time.Now()
		_, err = Open(config)
		require.Less(t, time.Since(begin), 5*time.Second)
	}
	require.Error(t, err)
	require.Regexp(t, "^"+want+"$", err.Error())
	require.NotContains(t, err.Error(), "wrong-secret")
}

// opened opens a registry as the environment says until the test ends.
func opened(t *testing.T) *Registry {
	t.Helper()
	config, err := ReadConfig()
	require.NoError(t, err)
	r, err := Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestUsers(t *testing.T) { //nolint:paralleltest // it sets the environment
	s, _ := start(t, "--auth-token-ttl", "1")
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Host()}})
	require.NoError(t, err)
	defer admin.Close() //nolint:errcheck // of no interest here
	ctx := t.Context()
	for _, user := range []string{"root", "registry", "stranger"} {
		_, err := admin.UserAdd(ctx, user, user+"-secret")
		require.NoError(t, err)
	}
	for _, role := range []string{"root", "registry"} {
		_, err := admin.RoleAdd(ctx, role)
		require.NoError(t, err)
		_, err = admin.UserGrantRole(ctx, role, role)
		require.NoError(t, err)
	}
	_, err = admin.RoleGrantPermission(ctx, "registry", "/m3o/", clientv3.GetPrefixRangeEnd("/m3o/"), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	_, err = admin.AuthEnable(ctx)
	require.NoError(t, err)

	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://"+s.Host()+"/m3o")
	refused(t, "MICRO_ETCD_ADDRESS: etcd wants a user, and there is none before the hosts")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://registry@"+s.Host()+"/m3o")
	refused(t, "MICRO_ETCD_ADDRESS names a user: expected the password in MICRO_ETCD_PASSWORD or MICRO_ETCD_PASSWORD_FILE")
	t.Setenv("MICRO_ETCD_PASSWORD", "wrong-secret")
	refused(t, "MICRO_ETCD_PASSWORD: etcd refuses the user of MICRO_ETCD_ADDRESS or this password")
	t.Setenv("MICRO_ETCD_PASSWORD", "stranger-secret")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://stranger@"+s.Host()+"/m3o")
	refused(t, "MICRO_ETCD_ADDRESS: the user may not read and write below /m3o/ in etcd")
	t.Setenv("MICRO_ETCD_PASSWORD", "registry-secret")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://registry@"+s.Host()+"/other")
	refused(t, "MICRO_ETCD_ADDRESS: the user may not read and write below /other/ in etcd")

	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://registry@"+s.Host()+"/m3o")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("registry-secret\n"), 0o600))
	t.Setenv("MICRO_ETCD_PASSWORD", "")
	t.Setenv("MICRO_ETCD_PASSWORD_FILE", file)
	r, other := opened(t), opened(t)
	const ttl = 4 * time.Second
	for i := range 2 {
		require.NoError(t, r.Register(nodeOf("a", i), registry.RegisterTTL(ttl)))
		require.Eventually(t, func() bool { return count(other, "a") == i+1 }, time.Second, time.Millisecond)
		for begin := time.Now(); time.Since(begin) < 3*time.Second; time.Sleep(500 * time.Millisecond) { //nolint:forbidigo // the token runs out
			require.NoError(t, r.Register(nodeOf("a", 0), registry.RegisterTTL(ttl)))
		}
		require.NoError(t, r.Check(ctx))
		require.NoError(t, s.Kill()) // it forgets all tokens
		require.NoError(t, s.Start(ctx))
	}
	require.Eventually(t, func() bool {
		return r.Register(nodeOf("b", 1), registry.RegisterTTL(ttl)) == nil && count(other, "b") == 1
	}, 3*time.Second, 10*time.Millisecond)
}

// authority makes certificates.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes a certificate and its key to name.pem and name.key. The first one is the authority's own.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	if a.cert == nil {
		a.cert, err = x509.ParseCertificate(der)
		require.NoError(t, err)
		a.key = key
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func TestTLS(t *testing.T) { //nolint:paralleltest // it sets the environment
	a, stranger := newAuthority(t), newAuthority(t)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	a.issue(t, "server", &x509.Certificate{ExtKeyUsage: both, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.issue(t, "client", &x509.Certificate{ExtKeyUsage: both})
	stranger.issue(t, "client", &x509.Certificate{ExtKeyUsage: both})

	s, _ := start(t)
	host := s.Host()
	require.NoError(t, s.Stop())
	s, err := engine.Etcd(t.Context(), engine.Config{Dir: t.TempDir(), Port: s.Port(), Args: []string{
		"--listen-client-urls", "https://" + host, "--advertise-client-urls", "https://" + host, "--client-cert-auth",
		"--trusted-ca-file", a.path("ca.pem"), "--cert-file", a.path("server.pem"), "--key-file", a.path("server.key"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })

	address := func(parts ...string) {
		t.Setenv("MICRO_ETCD_ADDRESS", "etcds://"+host+"/m3o?"+strings.Join(parts, "&"))
	}
	ca, client := "ca="+a.path("ca.pem"), "cert="+a.path("client.pem")+"&key="+a.path("client.key")
	address(ca, client)
	r := opened(t)
	require.NoError(t, r.Register(nodeOf("a", 1)))
	require.Equal(t, 1, count(r, "a"))

	at := "there is no TLS with etcd at " + host + ": "
	address(ca)
	refused(t, "MICRO_ETCD_ADDRESS: "+at+".*certificate.*: see ca, cert and key")
	address(ca, "cert="+stranger.path("client.pem")+"&key="+stranger.path("client.key"))
	refused(t, "MICRO_ETCD_ADDRESS: "+at+".*(certificate|authority).*: see ca, cert and key")
	address("ca="+stranger.path("ca.pem"), client)
	refused(t, "MICRO_ETCD_ADDRESS: "+at+".*unknown authority.*: see ca, cert and key")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://"+host)
	refused(t, "MICRO_ETCD_ADDRESS: what answers at "+host+" does not do so as etcd without TLS: etcds:// and ca, cert and key are for TLS")

	plain, _ := start(t)
	t.Setenv("MICRO_ETCD_ADDRESS", "etcds://"+plain.Host())
	refused(t, "MICRO_ETCD_ADDRESS: there is no TLS with etcd at "+plain.Host()+": .*: see ca, cert and key")
}

func TestNobodyThere(t *testing.T) { //nolint:paralleltest // it sets the environment
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := l.Addr().String()
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://"+host) // it takes connections, and does nothing
	refused(t, "MICRO_ETCD_ADDRESS: etcd does not answer at "+host+", though it takes connections")
	require.NoError(t, l.Close())
	refused(t, "MICRO_ETCD_ADDRESS: etcd does not answer at "+host+": connection refused")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://nowhere.invalid")
	refused(t, "MICRO_ETCD_ADDRESS: etcd does not answer at nowhere.invalid:2379: .*")
	t.Setenv("MICRO_ETCD_ADDRESS", "etcd://a/%zz")
	refused(t, "MICRO_ETCD_ADDRESS: the prefix .*")
	t.Setenv("MICRO_ETCD_ADDRESS", "")
	refused(t, "MICRO_ETCD_ADDRESS is not set: .*")
}
