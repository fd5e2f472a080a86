package state

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/micro/micro/v3/util/user"
	"github.com/stretchr/testify/require"
)

// The tests change the working directory, the environment and what is global in Micro: they do not run in parallel.

func TestLocate(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	inner := filepath.Join(root, "clone", "customers")
	require.NoError(t, os.MkdirAll(inner, 0o700))
	t.Setenv("HOME", root)
	t.Setenv(Env, "")
	t.Chdir(inner)
	locate := func(dir string) string {
		found, err := Locate(dir)
		require.NoError(t, err)
		return found
	}
	require.Equal(t, filepath.Join(root, DirName), locate(""), "nothing there: the home directory's")
	require.NoError(t, os.WriteFile(filepath.Join(inner, DirName), nil, 0o600))
	require.Equal(t, filepath.Join(root, DirName), locate(""), "a file of that name is no state directory")
	nearest := filepath.Join(root, "clone", DirName)
	require.NoError(t, os.Mkdir(nearest, 0o700))
	require.Equal(t, nearest, locate(""))
	t.Setenv(Env, filepath.Join(root, "env"))
	require.Equal(t, filepath.Join(root, "env"), locate(""))
	require.Equal(t, filepath.Join(inner, "given"), locate("given"))
}

func use(t *testing.T) {
	t.Helper()
	before := user.Dir
	t.Setenv(Env, "")
	require.NoError(t, Use(filepath.Join(t.TempDir(), "state")))
	t.Cleanup(func() { user.Dir = before })
}

func TestUse(t *testing.T) {
	use(t)
	info, err := os.Stat(Dir())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.Equal(t, Dir(), os.Getenv(Env))
}

func TestClaim(t *testing.T) {
	use(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close() //nolint:errcheck // the test ends
	port := taken.Addr().(*net.TCPAddr).Port

	_, err = Claim(port, false)
	require.ErrorContains(t, err, taken.Addr().String()+" is taken (the platform's api listens there)")
	a, err := LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, DefaultPort, a.Port, "what failed is not remembered")

	_, err = Claim(65530, false)
	require.ErrorContains(t, err, "expected a number from 1 to 65525")
	t.Setenv(PortEnv, "many")
	_, err = Claim(0, false)
	require.ErrorContains(t, err, PortEnv)
}

func TestAddressesAreRemembered(t *testing.T) {
	use(t)
	require.NoError(t, SaveAddresses(Addresses{Port: 12000}))
	a, err := LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:12000", a.Of("api"))
	require.Equal(t, "127.0.0.1:12002", a.Of("registry"))
	require.Empty(t, a.Of("web"))
	require.Equal(t, "127.0.0.1:12009", a.StandIn("stripe"))
	require.Equal(t, "127.0.0.1:12010", a.StandIn("mixpanel"))
	require.Empty(t, a.StandIn("api"))
	for _, damage := range []string{"", "{", "{}", `{"port": 70000}`} {
		require.NoError(t, os.WriteFile(addressFile(), []byte(damage), 0o600))
		_, err = LoadAddresses()
		require.ErrorContains(t, err, "is damaged")
	}
	a, err = Claim(12345, false)
	require.NoError(t, err, "the next start writes it anew")
	require.Equal(t, 12345, a.Port)
	a, err = LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, 12345, a.Port)
}

func TestEachServerHasAHost(t *testing.T) {
	use(t)
	t.Setenv(ServersEnv, "%s.micro.svc:8000")
	a, err := LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, "registry.micro.svc:8000", a.Of("registry"))
	require.Equal(t, "api.micro.svc:8000", a.All()["api"])
	require.Empty(t, a.Of("web"))
	_, err = Claim(0, false)
	require.ErrorContains(t, err, ServersEnv)
	for _, wrong := range []string{"registry:8000", "%s", "%s:", "%s:0", "%s:70000", "%s.%s:1", "x:%s"} {
		t.Setenv(ServersEnv, wrong)
		_, err = LoadAddresses()
		require.ErrorContains(t, err, "MICRO_SERVERS: expected an address with %s", wrong)
	}
}

func TestCertificatesAreClaimed(t *testing.T) {
	use(t)
	t.Setenv(TLSEnv, "")
	port := 20000 + os.Getpid()%10000
	for (Addresses{Port: port}).free() != nil {
		port += ports
	}
	claim := func(own bool) (Addresses, error) { return Claim(port, own) }
	a, err := claim(true)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(Dir(), "tls", "auth"), a.Certificates("auth"))
	a, err = LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(Dir(), "tls", "auth"), a.Certificates("auth"), "others find them")
	require.Equal(t, "auth", a.ServerAt(a.Of("auth")))
	require.Empty(t, a.ServerAt("127.0.0.1:1"))
	a, err = claim(false)
	require.NoError(t, err)
	require.Empty(t, a.Certificates("auth"), "the server before had them")

	t.Setenv(TLSEnv, "/run/tls/%s")
	a, err = claim(false)
	require.NoError(t, err)
	require.Equal(t, "/run/tls/auth", a.Certificates("auth"))
	_, err = claim(true)
	require.ErrorContains(t, err, "MICRO_TLS: either this, or --tls")
	t.Setenv(TLSEnv, "/run/tls")
	_, err = claim(false)
	require.ErrorContains(t, err, "MICRO_TLS: expected a directory with %s for the name of each process")
	t.Setenv(ServersEnv, "%s.micro.svc:8000")
	a, err = LoadAddresses()
	require.NoError(t, err)
	require.Equal(t, "/run/tls", a.Certificates("auth"), "which is mounted there")
}

func TestLock(t *testing.T) {
	use(t)
	server := func() int {
		pid, err := Server()
		require.NoError(t, err)
		return pid
	}
	require.Zero(t, server())
	require.NoError(t, Lock())
	require.Equal(t, os.Getpid(), server())
	require.ErrorContains(t, Lock(), "another server")
	require.NoError(t, lock.Close())
	require.Zero(t, server(), "what an ended one has written does not count")
	require.NoError(t, Lock())
	require.NoError(t, lock.Close())
}

func TestAdminPassword(t *testing.T) {
	use(t)
	first, err := AdminPassword()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(first), 26, "128 bits in base 32")
	again, err := AdminPassword()
	require.NoError(t, err)
	require.Equal(t, first, again)
	info, err := os.Stat(adminFile())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	use(t)
	other, err := AdminPassword()
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}
