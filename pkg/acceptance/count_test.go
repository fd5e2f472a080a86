package acceptance

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/client"
)

// What was recorded is counted, and nothing else, though usage and the events service die meanwhile: the load tool records
// again what was not answered, and compares.
func TestEachRequestCountsOnce(t *testing.T) {
	t.Parallel()
	p := boot(t, "usage")
	binary := filepath.Join(t.TempDir(), "load")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./pkg/acceptance/load")
	build.Dir = repository
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	const requests = 40_000
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	load := exec.CommandContext(ctx, binary, "-state", p.State, "-n", "40000", "-rate", "8000", "-batch", "200", "-wait", "2m")
	var truth, progress client.Output
	load.Stdout, load.Stderr = &truth, &progress
	require.NoError(t, load.Start())
	for i := range 4 {
		begun := strings.Count(progress.String(), "requests recorded")
		require.Eventually(t, func() bool {
			return strings.Count(progress.String(), "requests recorded") > begun
		}, recovery, rate, "nothing is recorded any more: %s", &progress)
		victim := p.core(t, "events")
		if i%2 == 0 {
			victim = p.binaries()[0].pid
		}
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	}
	require.NoError(t, load.Wait(), "%s", &progress)
	require.Contains(t, progress.String(), "The counters show just that.")
	var told struct {
		Requests  int
		Uncertain map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(truth.String()), &told))
	require.Equal(t, requests, told.Requests)
	require.Empty(t, told.Uncertain)
}
