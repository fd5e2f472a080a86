// Package casetest is what suites of conformance have in common, whose cases return an error rather than fail a test, because
// they are put to implementations that are known to fail some of them.
package casetest

import (
	"context"
	"fmt"
	"time"
)

// Expect returns an error unless something is as it is expected.
func Expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// First returns the first error.
func First(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// Pass waits until a time has passed that a case needs to pass.
func Pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
