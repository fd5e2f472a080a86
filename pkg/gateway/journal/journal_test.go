package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func config(dir string) Config {
	return Config{Dir: dir, Max: 16 * 2 * mostBytes, Segment: 2 * mostBytes, Sync: time.Millisecond, Idle: time.Hour}
}

func open(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := Open(config(dir))
	require.NoError(t, err)
	return j
}

// abandon makes a journal one of a process that has died: only its lock is gone.
func abandon(t testing.TB, j *Journal) {
	t.Helper()
	require.NoError(t, j.own.lock.Close())
}

func add(t testing.TB, j *Journal, record string) {
	t.Helper()
	require.True(t, j.Reserve())
	require.NoError(t, j.Append([]byte(record)))
}

func texts(b *Batch) []string {
	var all []string
	if b != nil {
		for _, r := range b.Records {
			all = append(all, string(r))
		}
	}
	return all
}

// rest hands everything on.
func rest(t testing.TB, j *Journal) []string {
	t.Helper()
	var all []string
	for {
		b, err := j.Next(3)
		require.NoError(t, err)
		if b == nil {
			return all
		}
		require.LessOrEqual(t, len(b.ID), 64)
		require.Empty(t, b.Damaged)
		all = append(all, texts(b)...)
		require.NoError(t, j.Done(b))
	}
}

func TestWhatIsMissingInTheConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Dir: t.TempDir()}, {Dir: t.TempDir(), Max: 1 << 20}, {Dir: t.TempDir(), Max: 1 << 20, Segment: 100}} {
		_, err := Open(c)
		require.ErrorContains(t, err, "expected a directory, and room for 16 segments")
	}
}

// Whatever is appended, handed on, abandoned and taken over in whatever order: everything is handed on in its order, once
// unless its journal was abandoned before Done, and nothing is left of it then.
func TestEverythingIsHandedOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		require.NoError(r, err)
		defer os.RemoveAll(dir) //nolint:errcheck // of a test
		j := open(t, dir)
		var waiting []string // what was appended and not handed on
		serial := 0
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				record := fmt.Sprintf("%d %0*d", serial, rapid.IntRange(0, 1500).Draw(r, "length"), 0)
				serial++
				if !j.Reserve() {
					require.Error(r, j.Check())
					return
				}
				require.NoError(r, j.Append([]byte(record)))
				waiting = append(waiting, record)
			},
			"hand on": func(r *rapid.T) {
				b, err := j.Next(rapid.IntRange(1, 5).Draw(r, "most"))
				require.NoError(r, err)
				if b == nil {
					require.Empty(r, waiting)
					return
				}
				require.NotEmpty(r, b.Records)
				require.Equal(r, append([]string{}, waiting[:len(b.Records)]...), texts(b))
				if rapid.Bool().Draw(r, "done") {
					waiting = waiting[len(b.Records):]
					require.NoError(r, j.Done(b))
				}
			},
			"die": func(r *rapid.T) {
				// What was handed on of a file that is not finished is handed on again.
				var again []string
				for _, s := range j.list() {
					b, err := os.ReadFile(s.path())
					require.NoError(r, err)
					records, _, _ := take(b, 1000)
					again = append(again, texts(&Batch{Records: records})...)
				}
				abandon(t, j)
				for _, d := range j.others {
					require.NoError(r, d.lock.Close())
				}
				require.Equal(r, append([]string{}, waiting...), append([]string{}, again[len(again)-len(waiting):]...))
				waiting = again
				j = open(t, dir)
			},
			"close": func(r *rapid.T) {
				again := len(waiting) > 0
				require.NoError(r, j.Close())
				j = open(t, dir)
				if !again {
					require.Empty(r, rest(t, j))
				}
				waiting = nil
				for {
					b, err := j.Next(1000)
					require.NoError(r, err)
					if b == nil {
						break
					}
					require.NoError(r, j.Done(b))
				}
			},
		})
		rest(t, j)
		require.NoError(r, j.Close())
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(r, err)
		require.Equal(r, []string{filepath.Join(dir, lockName)}, left)
	})
}

// Many who append at once, while it is read: each record once.
func TestAppendAtOnce(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	c.Max, c.Segment = 64<<20, 1<<20
	j, err := Open(c)
	require.NoError(t, err)
	const callers, each = 32, 500
	var appended atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for k := range each {
				if !j.Reserve() || j.Append(fmt.Appendf(nil, "%d/%d", i, k)) != nil {
					return
				}
				appended.Add(1)
			}
		})
	}
	seen := make(map[string]int)
	for ended := false; !ended; {
		ended = appended.Load() == callers*each
		for _, r := range rest(t, j) {
			seen[r]++
		}
	}
	wg.Wait()
	require.Len(t, seen, callers*each)
	for r, n := range seen {
		require.Equal(t, 1, n, r)
	}
	require.NoError(t, j.Close())
}

func TestFull(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	n := 0
	for j.Reserve() {
		require.NoError(t, j.Append(make([]byte, MaxRecord)))
		n++
	}
	require.Equal(t, 32, n)
	require.EqualError(t, j.Check(), "the journal is full")
	// It says so to the next process, too.
	abandon(t, j)
	j = open(t, filepath.Dir(j.own.path))
	require.False(t, j.Reserve())
	require.Len(t, rest(t, j), 32)
	require.Zero(t, j.Bytes())
	require.NoError(t, j.Check())
	// What is set aside keeps nobody from anything, nor in the next process.
	require.NoError(t, j.SetAside(make([]byte, 33*mostBytes)))
	require.Zero(t, j.Bytes())
	add(t, j, "another one")
	abandon(t, j)
	j = open(t, filepath.Dir(j.own.path))
	require.NoError(t, j.Check())
	require.Equal(t, []string{"another one"}, rest(t, j))
	require.True(t, j.Reserve())
	require.ErrorContains(t, j.Append(make([]byte, MaxRecord+1)), "a record of 2049 bytes, of 2048 at most")
}

func TestReservationsAreGivenBack(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir())
	for range 100 {
		require.True(t, j.Reserve())
		j.Release()
	}
	require.Zero(t, j.Bytes())
}

// A journal of a process that lives is nobody else's; when it has died, the next one finds it.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := open(t, dir), open(t, dir)
	add(t, first, "first")
	add(t, second, "second")
	require.NoError(t, second.TakeOver())
	require.Equal(t, []string{"second"}, rest(t, second))
	b, err := first.Next(10)
	require.NoError(t, err)
	id := b.ID
	abandon(t, first)
	require.NoError(t, second.TakeOver())
	require.NoError(t, second.TakeOver())
	b, err = second.Next(10)
	require.NoError(t, err)
	require.Equal(t, []string{"first"}, texts(b))
	require.Equal(t, id, b.ID, "whoever hands it on")
	require.NoError(t, second.Done(b))
	require.NoDirExists(t, first.own.path)
	require.Empty(t, rest(t, second))
}

// A process that has nothing to do keeps nothing that was handed on.
func TestIdle(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	c.Idle = time.Nanosecond
	j, err := Open(c)
	require.NoError(t, err)
	add(t, j, "one")
	before := j.active.path()
	require.Equal(t, []string{"one"}, rest(t, j))
	require.Empty(t, rest(t, j))
	require.NoFileExists(t, before)
	require.Zero(t, j.Bytes())
	add(t, j, "two")
	require.Equal(t, []string{"two"}, rest(t, j))
}

const childEnv = "JOURNAL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child appends numbers, from many goroutines, and says each number that was appended.
func child(dir string) error {
	c := config(dir)
	c.Max, c.Segment = 64<<20, 64<<10
	j, err := Open(c)
	if err != nil {
		return err
	}
	var next atomic.Int64
	failed := make(chan error)
	for range 8 {
		go func() {
			for {
				n := strconv.FormatInt(next.Add(1), 10)
				if !j.Reserve() {
					failed <- errors.New("full")
				}
				if err := j.Append([]byte(n)); err != nil {
					failed <- err
				}
				if _, err := fmt.Fprintln(os.Stdout, n); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// Whatever a process was told is recorded is there after it was killed, at whatever moment.
func TestKilled(t *testing.T) {
	t.Parallel()
	for round := range 5 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		told := make(map[string]bool)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			told[lines.Text()] = true
			if len(told) == 500*(round+1) {
				require.NoError(t, cmd.Process.Kill()) // what it has said until then is still read
			}
		}
		require.Error(t, cmd.Wait())
		c := config(dir)
		c.Max, c.Segment = 64<<20, 64<<10
		j, err := Open(c)
		require.NoError(t, err)
		found := make(map[string]bool)
		for {
			b, err := j.Next(1000)
			require.NoError(t, err)
			if b == nil {
				break
			}
			for _, r := range texts(b) {
				require.False(t, found[r], "%s is there twice", r)
				found[r] = true
			}
			require.NoError(t, j.Done(b))
		}
		for n := range told {
			require.True(t, found[n], "%s was lost", n)
		}
		require.NoError(t, j.Close())
	}
}

func BenchmarkAppend(b *testing.B) {
	j, err := Open(Config{Dir: b.TempDir(), Max: 64 << 30})
	require.NoError(b, err)
	record := make([]byte, 200)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !j.Reserve() || j.Append(record) != nil {
				b.Fail()
			}
		}
	})
}
