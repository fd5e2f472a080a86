package jetstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream"
)

// numbered are events whose payloads are the numbers from the first on.
func numbered(topic string, first, n int) []*events.Event {
	batch := make([]*events.Event, n)
	for i := range batch {
		batch[i] = &events.Event{Topic: topic, Payload: fmt.Append(nil, first+i)}
	}
	return batch
}

func publish(t testing.TB, e *Engine, topic string, first, n int) {
	t.Helper()
	_, err := e.PublishBatch(t.Context(), numbered(topic, first, n))
	require.NoError(t, err)
}

func subscribe(t testing.TB, e *Engine, options stream.Options) stream.Subscription {
	t.Helper()
	sub, err := e.Subscribe(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return sub
}

// receive receives n events whose payloads are the numbers from the first on.
func receive(t testing.TB, sub stream.Subscription, first, n int) []uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var tags []uint64
	for len(tags) < n {
		batch, err := sub.Next(ctx)
		require.NoError(t, err, "after %d events", len(tags))
		for _, d := range batch {
			require.Equal(t, strconv.Itoa(first+len(tags)), string(d.Payload))
			tags = append(tags, d.Tag)
		}
	}
	return tags
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	publish(t, e, "topic", 0, 100)
	epoch := e.epoch
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g", AckWait: time.Hour, MaxInFlight: 50})
	require.NoError(t, sub.Ack(receive(t, sub, 0, 50)[:10]...))
	loner := subscribe(t, e, stream.Options{Topic: "topic"})
	receive(t, loner, 0, 100)
	require.NoError(t, e.Close())
	_, err := sub.Next(t.Context())
	require.ErrorIs(t, err, stream.ErrClosed)
	_, err = e.PublishBatch(t.Context(), numbered("topic", 0, 1))
	require.ErrorIs(t, err, stream.ErrClosed)
	_, err = e.Subscribe(t.Context(), stream.Options{Topic: "topic", Group: "g"})
	require.ErrorIs(t, err, stream.ErrClosed)
	_, err = e.Read("topic")
	require.Error(t, err)

	e = open(t, Config{Dir: dir})
	require.Equal(t, epoch, e.epoch, "the machine has not been started again")
	groups, err := e.find("topic").consumers(t.Context())
	require.NoError(t, err)
	require.Len(t, groups, 1, "the one that was alone is gone")
	sub = subscribe(t, e, stream.Options{Topic: "topic", Group: "g", AckWait: time.Hour})
	receive(t, sub, 10, 90) // at once, though the AckWait has not passed
	publish(t, e, "topic", 100, 1)
	receive(t, sub, 100, 1)
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, err := openEpoch(dir, false)
	require.NoError(t, err)
	same, err := openEpoch(dir, false)
	require.NoError(t, err)
	require.Equal(t, one, same)
	always, err := openEpoch(dir, true)
	require.NoError(t, err)
	require.NotEqual(t, one, always)
	other, err := openEpoch(t.TempDir(), false)
	require.NoError(t, err)
	require.NotEqual(t, one, other)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "id"), nil, 0o600)) // what a power cut may leave
	again, err := openEpoch(dir, false)
	require.NoError(t, err)
	require.NotEqual(t, one, again)
}

// childEnv makes the test binary a process that publishes until it is killed, or cannot any more: fileLimitEnv has how many
// bytes a file of it may have.
const (
	childEnv     = "JETSTREAM_TEST_DIR"
	fileLimitEnv = "JETSTREAM_TEST_FILE_LIMIT"
)

// child is the main function of that process.
func child(dir string) error {
	if limit, err := strconv.ParseUint(os.Getenv(fileLimitEnv), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ) // it is an error of the write then, as that of a full disk
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	e, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	go func() { // as whoever runs it
		<-e.Failed()
		fmt.Println(e.Err())
		os.Exit(1)
	}()
	first := 0
	if t := e.find("topic"); t != nil {
		first = int(t.last)
	}
	for {
		const n = 50
		if _, err := e.PublishBatch(context.Background(), numbered("topic", first, n)); err != nil {
			return err
		}
		first += n
		fmt.Printf("acknowledged %d\n", first)
	}
}

// What was acknowledged is there after kill -9, whatever the process was doing.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := 0
	for range 5 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+dir)
		lines := new(watched)
		lines.more = make(chan struct{}, 1)
		child.Stdout = lines
		require.NoError(t, child.Start())
		want := acknowledged + 1000
		for lines.last() < want {
			select {
			case <-lines.more:
			case <-t.Context().Done():
				require.FailNow(t, "it does not publish")
			}
		}
		require.NoError(t, child.Process.Kill())
		_ = child.Wait() // killed
		acknowledged = lines.last()
	}
	e := open(t, Config{Dir: dir})
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g"})
	got := 0
	for got < acknowledged {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		batch, err := sub.Next(ctx)
		cancel()
		require.NoError(t, err, "%d of %d are there", got, acknowledged)
		for _, d := range batch {
			require.Equal(t, strconv.Itoa(got), string(d.Payload))
			got++
		}
		require.NoError(t, sub.Ack(tagsOf(batch)...))
	}
}

// A process that cannot write any more ends, with a sentence, and what it has acknowledged is there when it can again.
func TestCannotWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+dir, fileLimitEnv+"=1000000")
	lines := &watched{more: make(chan struct{}, 1)}
	var said bytes.Buffer
	c.Stdout = io.MultiWriter(lines, &said)
	require.Error(t, c.Run())
	require.Contains(t, said.String(), "the event stream cannot write to its disk and has to be started again\n")
	require.Greater(t, lines.last(), 1000)
	e := open(t, Config{Dir: dir})
	require.GreaterOrEqual(t, kept(t, e, "topic"), lines.last())
	publish(t, e, "topic", 0, 1)
}

func tagsOf(batch []stream.Delivery) []uint64 {
	tags := make([]uint64, len(batch))
	for i, d := range batch {
		tags[i] = d.Tag
	}
	return tags
}

// A power cut may leave the end of a file half written.
func TestBrokenTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	publish(t, e, "topic", 0, 100)
	require.NoError(t, e.Close())
	broken := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".blk"):
			broken++
			info, err := d.Info()
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()-17))
		case strings.HasSuffix(path, "index.db"), strings.HasSuffix(path, "o.dat"): // what was known of it
			require.NoError(t, os.WriteFile(path, []byte("broken"), 0o600))
		}
		return nil
	}))
	require.Equal(t, 1, broken)
	e = open(t, Config{Dir: dir})
	sub := subscribe(t, e, stream.Options{Topic: "topic", Group: "g"})
	require.NoError(t, sub.Ack(receive(t, sub, 0, 99)...))
	publish(t, e, "topic", 99, 1)
	receive(t, sub, 99, 1)
}

// A topic that cannot be read at all is not taken for one that nobody has published to.
func TestUnreadableTopic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	publish(t, e, "topic", 0, 1)
	require.NoError(t, e.Close())
	found, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "p-topic", "meta.inf"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, os.WriteFile(found[0], []byte("broken"), 0o600))
	_, err = Open(Config{Dir: dir})
	require.ErrorContains(t, err, "p-topic")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for want, c := range map[string]Config{
		"a directory":         {},
		"sync: expected":      {Dir: dir, Sync: time.Hour},
		"max_bytes: expected": {Dir: dir, MaxBytes: 1},
		"retention: expected": {Dir: dir, Retention: time.Millisecond},
		"reserve: expected":   {Dir: dir, Reserve: -1},
		"not a directory":     {Dir: filepath.Join(dir, "file", "below")},
	} {
		if want == "not a directory" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
		}
		_, err := Open(c)
		require.ErrorContains(t, err, want)
	}
}

func TestAlways(t *testing.T) {
	t.Parallel()
	e := open(t, Config{Always: true})
	publish(t, e, "topic", 0, 100)
	receive(t, subscribe(t, e, stream.Options{Topic: "topic", Group: "g"}), 0, 100)
	require.True(t, bytes.HasSuffix([]byte(e.epoch), []byte("/always")))
}
