package jetstream

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/events/stream/streamtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// open opens an engine until the test ends.
func open(t testing.TB, config Config) *Engine {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	e, err := Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestConformance(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, open(t, Config{}))
}
