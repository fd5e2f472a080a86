// Package eventstest gives tests the event stream that services of the embedded profile have, in the process of the test.
package eventstest

import (
	"testing"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/platform/jetstream"
)

// Stream returns a stream of the test's own, which ends with it.
func Stream(t testing.TB) stream.Stream {
	t.Helper()
	engine, err := jetstream.Open(jetstream.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}
