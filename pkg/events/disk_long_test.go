//go:build long && linux

package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The disk of the events service gets full for a while, to the last byte. Nothing is lost by that: events wait in the outbox,
// and whoever keeps the events service running starts it again when it has given up. It takes root, to mount a small disk.
func TestAFullDisk(t *testing.T) {
	w := prepare(t, 30_000, 1)
	disk := filepath.Join(w.dir, "stream")
	require.NoError(t, os.MkdirAll(disk, 0o750))
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m"), "mounting takes root")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	w.run(t)
	keeping, stop := make(chan struct{}), make(chan struct{})
	go func() { // as the platform's supervisor does
		defer close(keeping)
		for p := w.stream; ; p = launch(t, "stream", w.env("stream")...) {
			select {
			case <-stop:
				return
			case <-p.ended:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-keeping
	})

	sent := w.bankOf(t, "publisher")
	eventually(t, func() bool { return count(t, sent, "accounts", "1 = 1") > 0 }, "it has begun")
	filler, err := os.Create(filepath.Join(disk, "filler"))
	require.NoError(t, err)
	for size := 1 << 20; size > 0; {
		if _, err := filler.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			require.NoError(t, err)
		}
	}
	require.NoError(t, filler.Close())
	for began := time.Now(); time.Since(began) < 5*time.Second; {
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // that time passes is the point
	}
	require.NotZero(t, count(t, sent, "outbox", "published = 0"), "events wait")
	require.NoError(t, os.Remove(filler.Name()))
	w.requireTruth(t, 2*time.Minute)
}
