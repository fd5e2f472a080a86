package telemetry_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/telemetry"
)

const patience = 20 * time.Second

// pipe hands each write on to the test, and takes no other before.
type pipe chan string

func (p pipe) Write(b []byte) (int, error) {
	p <- string(b)
	return len(b), nil
}

func (p pipe) next(t *testing.T) string {
	t.Helper()
	select {
	case text := <-p:
		return text
	case <-time.After(patience):
		require.FailNow(t, "nothing was written")
		return ""
	}
}

func put(t *testing.T, w io.Writer, text string) {
	t.Helper()
	n, err := io.WriteString(w, text)
	assert.NoError(t, err)
	assert.Len(t, text, n)
}

func TestLaterLinesGoOutTogether(t *testing.T) {
	t.Parallel()
	out := make(pipe)
	o := telemetry.NewOutput(out, func(int) { assert.Fail(t, "nothing is lost") })
	for range 3 { // again with what is used again
		put(t, o.Later(), "a\n")
		put(t, o.Later(), "b\n")
		require.Equal(t, "a\nb\n", out.next(t))
	}
}

// A line that goes out at once does not overtake those that wait, and is no part of them.
func TestALineTakesThoseBeforeItAlong(t *testing.T) {
	t.Parallel()
	out := make(pipe, 3)
	o := telemetry.NewOutput(out, func(int) { assert.Fail(t, "nothing is lost") })
	put(t, o.Later(), "a\n")
	put(t, o, "b\n")
	require.Equal(t, "a\nb\n", out.next(t))
	put(t, o, "c\n")
	require.Equal(t, "c\n", out.next(t))
	put(t, o.Later(), "d\n")
	o.Flush()
	require.Equal(t, "d\n", out.next(t))
	o.Flush()
	require.Empty(t, out, "nothing is written when nothing waits")
}

func TestNobodyWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	const lines, room = 3000, 1 << 20
	out, lost := make(pipe), make(chan int, 1)
	o := telemetry.NewOutput(out, func(n int) { lost <- n })
	line := strings.Repeat("x", 1023) + "\n"
	put(t, o.Later(), "first\n")
	for range lines {
		put(t, o.Later(), line)
	}
	kept, gone := 0, 0
	for kept+gone < lines {
		select {
		case text := <-out:
			text = strings.TrimPrefix(text, "first\n")
			require.Zero(t, len(text)%len(line), "lines are whole")
			kept += len(text) / len(line)
		case n := <-lost:
			gone += n
		case <-time.After(patience):
			require.FailNow(t, "lines are neither written nor lost")
		}
	}
	require.Equal(t, lines, kept+gone)
	require.Less(t, kept, lines)
	require.GreaterOrEqual(t, kept*len(line), room-len(line))
}

// Lines of each writer stay whole and in order, whichever way they go.
func TestLinesStayWholeAndInOrder(t *testing.T) {
	t.Parallel()
	const writers, lines = 8, 2000
	var out buffer
	o := telemetry.NewOutput(&out, func(int) { assert.Fail(t, "nothing is lost") })
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				to := o.Later()
				if i%50 == 0 {
					to = o
				}
				put(t, to, fmt.Sprintf("%d %d\n", w, i))
			}
		})
	}
	wg.Wait()
	o.Flush()
	out.mu.Lock()
	defer out.mu.Unlock()
	var next [writers]int
	for line := range strings.Lines(out.out.String()) {
		var w, i int
		_, err := fmt.Sscanf(line, "%d %d\n", &w, &i)
		require.NoError(t, err)
		require.Equal(t, next[w], i)
		next[w]++
	}
	for w := range next {
		require.Equal(t, lines, next[w])
	}
}

func TestProcessLog(t *testing.T) {
	t.Parallel()
	_, _, err := telemetry.NewProcessLog(io.Discard, "xml", "", "a")
	require.ErrorContains(t, err, "MICRO_LOG_FORMAT: expected json or text")
	for format, want := range map[string]string{
		"json": `^{"time":"[^"]+","level":"INFO","msg":"often \[redacted\]","service":"api"}
{"time":"[^"]+","level":"INFO","msg":"request \\"/\\"","service":"api"}
{"time":"[^"]+","level":"WARN","msg":"other","service":"api"}
$`,
		"text": `^time=\S+ level=INFO msg="often \[redacted\]" service=api
time=\S+ level=INFO msg="request \\"/\\"" service=api
time=\S+ level=WARN msg=other service=api
$`,
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var out buffer
			_, micro, err := telemetry.NewProcessLog(&out, format, "info", "api")
			require.NoError(t, err)
			micro.Often(logger.DebugLevel, "not this")
			micro.Often(logger.InfoLevel, "often jane@example.com")
			micro.Often(logger.InfoLevel, `request "/"`)
			micro.Logf(logger.WarnLevel, "other")
			micro.Flush()
			out.mu.Lock()
			defer out.mu.Unlock()
			require.Regexp(t, want, out.out.String())
		})
	}
}

// What was lost is told in a line of the same log.
func TestProcessLogSaysWhatWasLost(t *testing.T) {
	t.Parallel()
	out := make(pipe)
	_, micro, err := telemetry.NewProcessLog(out, "", "", "api")
	require.NoError(t, err)
	line := strings.Repeat("x ", 4096)
	for range 500 {
		micro.Often(logger.InfoLevel, line)
	}
	for {
		if text := out.next(t); strings.Contains(text, `level=WARN msg="The log is read too slowly, lines were lost" service=api lines=`) {
			return
		}
	}
}

// A logger that was not made for it writes the line as any other.
func TestOftenWithoutAnOutput(t *testing.T) {
	t.Parallel()
	log, lines := jsonLog(t, "info")
	micro := telemetry.NewMicroLogger(log)
	micro.Often(logger.InfoLevel, "a")
	micro.Often(logger.DebugLevel, "b")
	micro.Flush()
	got := lines()
	require.Len(t, got, 1)
	require.Equal(t, "a", got[0]["msg"])
}
