package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// checks returns checks and what they log.
func checks() (*monitor.Checks, *bytes.Buffer) {
	var log bytes.Buffer
	return &monitor.Checks{Log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

func TestChecks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, log := checks()
		require.Empty(t, c.Failing(t.Context()), "nothing is to be well")
		var broken error
		runs := 0
		c.Add("database", func(context.Context) error { runs++; return broken })
		c.Add("always", func(context.Context) error { return nil })
		require.Empty(t, c.Failing(t.Context()))

		broken = errors.New("10.0.0.1 refused")
		require.Empty(t, c.Failing(t.Context()), "it is not asked again so soon")
		require.Equal(t, 1, runs)
		for range 3 {
			<-time.After(time.Second)
			require.Equal(t, []string{"database"}, c.Failing(t.Context()))
		}
		require.Equal(t, 4, runs)
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "it is logged when it begins")
		require.Contains(t, log.String(), "10.0.0.1 refused")

		broken = nil
		<-time.After(time.Second)
		require.Empty(t, c.Failing(t.Context()))
		require.Contains(t, log.String(), "well again")

		c.Drain()
		require.Equal(t, []string{"draining"}, c.Failing(t.Context()), "at once")
	})
}

// Whoever asks while a check runs waits for that run.
func TestAskedByMany(t *testing.T) {
	t.Parallel()
	c, _ := checks()
	running, release := make(chan struct{}, 50), make(chan struct{})
	c.Add("slow", func(context.Context) error { running <- struct{}{}; <-release; return errors.New("x") })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { assert.Equal(t, []string{"slow"}, c.Failing(t.Context())) })
	}
	<-running
	close(release)
	all.Wait()
	require.Empty(t, running)
}

// A check that heeds no context fails in time, and does not run twice at once.
func TestCheckThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := checks()
		release := make(chan struct{})
		var runs atomic.Int32
		c.Add("hangs", func(context.Context) error { runs.Add(1); <-release; return nil })
		c.Add("heeds", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		for range 3 {
			began := time.Now()
			require.Equal(t, []string{"hangs", "heeds"}, c.Failing(t.Context()))
			require.Equal(t, 2*time.Second, time.Since(began))
			<-time.After(time.Second)
		}
		require.EqualValues(t, 1, runs.Load())
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"heeds"}, c.Failing(t.Context()))
	})
}

func TestCheckThatPanics(t *testing.T) {
	t.Parallel()
	c, log := checks()
	c.Add("panics", func(context.Context) error { panic("x") })
	require.Equal(t, []string{"panics"}, c.Failing(t.Context()))
	require.Contains(t, log.String(), "panic: x")
}
