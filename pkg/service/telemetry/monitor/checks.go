package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkTimeout is how long a check may take; one that takes longer fails.
	checkTimeout = 2 * time.Second
	// checkAge is how long the result of a check is good: whoever asks, however often, it runs once a second at most.
	checkAge = time.Second
)

// Check finds out whether something that a service needs is there; nil if it is. The context ends when the check has
// taken too long.
type Check func(ctx context.Context) error

// Checks are what has to be well for a process to be called so. The zero value has none, and is well.
type Checks struct {
	// Log is told when a check begins to fail, with the cause, and when it has ended; slog's default when nil.
	Log *slog.Logger

	draining atomic.Bool
	mu       sync.Mutex
	checks   []*check
}

// Add adds a check under a name that callers are shown when it fails, so that it must say nothing of the inside.
func (c *Checks) Add(name string, f Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks = append(c.checks, &check{name: name, run: f})
}

// draining is the name under which Drain makes the checks fail.
const draining = "draining"

// Drain makes the checks fail from now on, because the process is about to end.
func (c *Checks) Drain() { c.draining.Store(true) }

// Failing returns the names of the checks that fail, in order, after a little more than checkTimeout at the latest. When
// ctx ends, so do the checks that run, and count as failed this once.
func (c *Checks) Failing(ctx context.Context) []string {
	c.mu.Lock()
	checks := slices.Clone(c.checks)
	c.mu.Unlock()
	failed := make([]bool, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { failed[i] = check.failing(ctx, c.log()) })
	}
	all.Wait()
	names := []string{}
	if c.draining.Load() {
		names = append(names, draining)
	}
	for i, check := range checks {
		if failed[i] {
			names = append(names, check.name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *Checks) log() *slog.Logger {
	if c.Log == nil {
		return slog.Default()
	}
	return c.Log
}

// check is one check and what it found last.
type check struct {
	name string
	run  Check

	mu      sync.Mutex // held while it runs, so that those who ask meanwhile get the same answer
	at      time.Time
	failed  bool
	pending chan error // of a run that has not ended in time
}

var errTooLong = errors.New("it took too long")

func (c *check) failing(ctx context.Context, log *slog.Logger) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < checkAge {
		return c.failed
	}
	err := c.once(ctx)
	if ctx.Err() != nil {
		return true
	}
	if failed := err != nil; failed != c.failed {
		c.failed = failed
		if failed {
			log.Warn("a check fails", "check", c.name, "cause", err)
		} else {
			log.Info("a check is well again", "check", c.name)
		}
	}
	c.at = time.Now()
	return c.failed
}

// once runs the check, unless it still runs because it does not heed its context: one goroutine of it is enough.
func (c *check) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if c.pending == nil {
		result := make(chan error, 1)
		c.pending = result
		go func() { result <- c.safely(ctx) }()
	}
	select {
	case err := <-c.pending:
		c.pending = nil
		return err
	case <-ctx.Done():
		return errTooLong
	}
}

// safely runs the check. That it panics is no reason for the process to end.
func (c *check) safely(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return c.run(ctx)
}
