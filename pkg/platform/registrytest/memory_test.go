package registrytest_test

import (
	"testing"

	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/registry/noop"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/registrytest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{""}, registrytest.Failing(func() registry.Registry { return memory.NewRegistry() }))
}

func TestNoop(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{""}, registrytest.Failing(noopRegistry))
}

func noopRegistry() registry.Registry { return noop.NewRegistry() }
