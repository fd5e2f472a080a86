package registrytest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/registry/noop"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/registrytest"
)

// Why Micro's registry cannot be watched, and nobody may change what it answers with.
func TestMemory(t *testing.T) {
	t.Parallel()
	failing := registrytest.Failing(func() registry.Registry { return memory.NewRegistry() })
	known := []string{
		"tells watchers of a node that has changed",
		"tells watchers of a node that has gone",
		"tells watchers of a node that was forgotten",
		"tells watchers nothing when nothing has changed",
		"tells a watcher that reads late",
		"tells watchers with copies",
		"ends a watcher that is stopped",
		"replaces a node that is registered again",
		"replaces the endpoints of a version",
		"answers with copies",
		"does not change what it is given",
	}
	require.Subset(t, failing, known)
	// It drops what a watcher does not take within 10 ms, so that on a busy machine any case of watchers may fail.
	for _, name := range failing {
		require.True(t, slices.Contains(known, name) || strings.Contains(name, "watcher"), name)
	}
}

// One that does nothing does one thing right.
func TestNoop(t *testing.T) {
	t.Parallel()
	failing := registrytest.Failing(func() registry.Registry { return noop.NewRegistry() })
	require.Len(t, failing, len(registrytest.Cases())-1)
	require.NotContains(t, failing, "does not change what it is given")
}
