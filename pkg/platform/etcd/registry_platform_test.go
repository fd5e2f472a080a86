//go:build platform

package etcd

import (
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/endpoint"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/registrytest"
)

// open opens a registry below a prefix until the test ends.
func open(t testing.TB, address, prefix string) *Registry {
	t.Helper()
	e, err := endpoint.Parse(address, syntax)
	require.NoError(t, err)
	r, err := Open(Config{Endpoint: e, Prefix: prefix})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// address is that of the server that all tests use.
func address(t testing.TB) string {
	t.Helper()
	address := os.Getenv(engine.EtcdEnv)
	require.NotEmpty(t, address, "%s is not set: run the tests with bin/withengines", engine.EtcdEnv)
	return address
}

func TestConformance(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, open(t, address(t), uuid.NewString()))
}
