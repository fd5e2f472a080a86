package journal

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// While nothing can be written nobody is told that it was, and it goes on by itself.
func TestDiskThatCannotBeWrittenTo(t *testing.T) {
	t.Parallel()
	var failures atomic.Int64
	c := config(t.TempDir())
	c.Sync, c.Failed = time.Hour, func(error) { failures.Add(1) }
	j, err := Open(c)
	require.NoError(t, err)
	add(t, j, "before")
	require.True(t, j.Reserve())
	require.True(t, j.Reserve())
	require.NoError(t, j.file.Close())
	require.Equal(t, ErrBroken, j.Append([]byte("lost")))
	require.Equal(t, ErrBroken, j.Append([]byte("lost, too")))
	require.False(t, j.Reserve(), "nobody does what cannot be recorded")
	require.Equal(t, ErrBroken, j.Check())
	require.EqualValues(t, 1, failures.Load())
	require.EqualValues(t, headerBytes+len("before"), j.Bytes())

	// As the background does.
	go j.keepSynced(time.Millisecond)
	require.Eventually(t, func() bool { return j.Check() == nil }, 10*time.Second, time.Millisecond)
	add(t, j, "after")
	require.Equal(t, []string{"before", "after"}, rest(t, j))
}

// A full disk is tried again with a write, and does not get fuller for that; nothing of what was tried is handed on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var failures atomic.Int64
	c := config(t.TempDir())
	c.Sync, c.Failed = time.Hour, func(error) { failures.Add(1) }
	j, err := Open(c)
	require.NoError(t, err)
	disk := j.active.path()
	require.NoError(t, os.Remove(disk))
	require.NoError(t, os.Symlink("/dev/full", disk))
	require.NoError(t, j.file.Close())
	j.file, err = os.OpenFile(disk, os.O_WRONLY, 0)
	require.NoError(t, err)
	require.True(t, j.Reserve())
	require.Equal(t, ErrBroken, j.Append([]byte("lost")))

	for range 10 {
		require.ErrorIs(t, j.mend(), syscall.ENOSPC)
	}
	go j.keepSynced(time.Millisecond)
	require.Eventually(t, func() bool { return failures.Load() == 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, ErrBroken, j.Check())
	files, err := filepath.Glob(filepath.Join(j.own.path, "*"+segmentSuffix))
	require.NoError(t, err)
	require.Equal(t, []string{disk}, files)
	require.Len(t, j.list(), 1)

	require.NoError(t, os.Remove(disk))
	require.Eventually(t, func() bool { return j.Check() == nil }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 2, failures.Load(), "once when it fails, and once when it cannot be mended")
	info, err := os.Stat(disk)
	require.NoError(t, err)
	require.Zero(t, info.Size())
	add(t, j, "after")
	require.Equal(t, []string{"after"}, rest(t, j))
}

// What could not be forced to the disk is forced the next time: the active file, and those before it, unless they are gone.
func TestDiskThatCannotBeForced(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	c.Sync = time.Hour
	j, err := Open(c)
	require.NoError(t, err)
	var f forced
	force := func() error { return j.force(&f) }
	add(t, j, "one")
	require.NoError(t, force())
	written := j.active.size.Load()
	require.Equal(t, forced{j.active, written}, f)

	whole := j.file
	broken, err := os.Open(j.active.path())
	require.NoError(t, err)
	require.NoError(t, broken.Close())
	add(t, j, "two")
	j.file = broken
	for range 2 {
		require.ErrorIs(t, force(), os.ErrClosed)
		require.Equal(t, forced{j.active, written}, f)
	}
	// It is the same when another file has begun, which is forced all the same.
	before := j.active
	require.NoError(t, j.rotate())
	add(t, j, "three")
	for range 2 {
		require.ErrorIs(t, force(), os.ErrClosed)
		require.Equal(t, []*os.File{broken}, j.retired)
		require.Equal(t, forced{j.active, j.active.size.Load()}, f)
	}
	j.retired[0] = whole
	require.NoError(t, force())
	require.Empty(t, j.retired)
	require.ErrorIs(t, whole.Sync(), os.ErrClosed)
	// One that is gone needs no more of it.
	j.retired = []*os.File{broken}
	require.NoError(t, j.discard(before))
	require.NoError(t, force())
	require.Empty(t, j.retired)
	// Nor does the directory count as forced when it was not.
	require.NoError(t, j.rotate())
	require.NoError(t, os.Rename(j.own.path, j.own.path+"x"))
	require.ErrorIs(t, force(), os.ErrNotExist)
	require.NotEqual(t, j.active, f.active)
	require.NoError(t, os.Rename(j.own.path+"x", j.own.path))
	require.NoError(t, force())
	require.Equal(t, j.active, f.active)
	require.NoError(t, j.Close())
}

// It is said once that nothing can be forced, and not ten times a second.
func TestReportOfWhatCannotBeForced(t *testing.T) {
	t.Parallel()
	var failures atomic.Int64
	c := config(t.TempDir())
	c.Sync, c.Failed = time.Hour, func(error) { failures.Add(1) }
	j, err := Open(c)
	require.NoError(t, err)
	add(t, j, "one")
	broken, err := os.Open(j.active.path())
	require.NoError(t, err)
	require.NoError(t, broken.Close())
	j.writeMu.Lock()
	whole := j.file
	j.file = broken
	j.writeMu.Unlock()
	go j.keepSynced(time.Millisecond)
	require.Eventually(t, func() bool { return failures.Load() == 1 }, 10*time.Second, time.Millisecond)
	require.Never(t, func() bool { return failures.Load() > 1 }, 50*time.Millisecond, time.Millisecond)
	j.writeMu.Lock()
	j.file = whole
	j.writeMu.Unlock()
}

// A file that somebody has deleted, or that cannot be read, does not stop the others, and is reported once. It is handed on when it
// can be read again.
func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	add(t, first, "deleted")
	abandon(t, first)
	second := open(t, dir)
	add(t, second, "unreadable")
	abandon(t, second)
	abandon(t, &Journal{own: second.others[0]})
	var failures []error
	var lost []int64
	c := config(dir)
	c.Failed = func(err error) { failures = append(failures, err) }
	c.Lost = func(bytes int64) { lost = append(lost, bytes) }
	third, err := Open(c)
	require.NoError(t, err)
	add(t, third, "kept")
	require.NoError(t, os.Remove(first.active.path()))
	unreadable := second.active.path()
	require.NoError(t, os.Rename(unreadable, unreadable+".elsewhere"))
	require.NoError(t, os.Mkdir(unreadable, 0o700))
	for _, want := range [][]string{{"kept"}, nil, nil} {
		require.Equal(t, want, rest(t, third))
		require.Equal(t, []int64{headerBytes + int64(len("deleted")), headerBytes + int64(len("unreadable"))}, lost)
		require.Len(t, failures, 2)
		require.ErrorContains(t, failures[0], "19 bytes cannot be handed on: open "+first.active.path())
		require.ErrorContains(t, failures[1], "22 bytes cannot be handed on: read "+unreadable)
	}
	require.NoDirExists(t, first.own.path)
	require.NoError(t, os.Remove(unreadable))
	require.NoError(t, os.Rename(unreadable+".elsewhere", unreadable))
	require.Equal(t, []string{"unreadable"}, rest(t, third))
	require.NoDirExists(t, second.own.path)
	require.Len(t, failures, 2)
}
