package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary plays the processes: TEST_PLAY says which.
func TestMain(m *testing.M) {
	switch os.Getenv("TEST_PLAY") {
	case "":
		os.Exit(m.Run())
	case "sleep":
		fmt.Println("ready")
		select {}
	case "deaf":
		ignoreTerm()
		fmt.Println("ready")
		select {}
	case "done":
		fmt.Println("done")
	case "crash":
		fmt.Println("first words")
		fmt.Fprintln(os.Stderr, "customers.db.address: expected an address that starts with postgres://")
		os.Exit(1)
	case "parent":
		// A supervisor that is killed: it prints its child's pid and waits for that.
		p, err := Start(Config{Log: os.Getenv("TEST_LOG")}, play("sleep"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.Status().PID)
		select {}
	}
}

func play(role string) Command {
	return Command{Path: os.Args[0], Env: []string{"TEST_PLAY=" + role}}
}

func ignoreTerm() {
	signal.Ignore(syscall.SIGTERM)
}

func setup(t *testing.T, role string, config Config) *Process {
	t.Helper()
	config.Log = filepath.Join(t.TempDir(), "process.log")
	p, err := Start(config, play(role))
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	return p
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 5*time.Millisecond)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func printed(p *Process, text string) func() bool {
	return func() bool {
		b, err := os.ReadFile(p.config.Log)
		return err == nil && strings.Contains(string(b), text)
	}
}

func TestStartFailsForWhatCannotRun(t *testing.T) {
	t.Parallel()
	_, err := Start(Config{Log: filepath.Join(t.TempDir(), "log")}, Command{Path: "/no/such/executable"})
	require.ErrorContains(t, err, "/no/such/executable")
}

func TestStopEndsTheProcess(t *testing.T) {
	t.Parallel()
	p := setup(t, "sleep", Config{})
	pid := p.Status().PID
	require.True(t, alive(pid))
	p.Stop()
	p.Stop()
	require.False(t, alive(pid))
	require.Equal(t, Stopped, p.Status().State)
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	p := setup(t, "deaf", Config{Grace: 50 * time.Millisecond})
	eventually(t, printed(p, "ready"))
	pid := p.Status().PID
	p.Stop()
	require.False(t, alive(pid))
}

func TestKilledProcessIsStartedAgain(t *testing.T) {
	t.Parallel()
	p := setup(t, "sleep", Config{MinBackoff: time.Millisecond})
	first := p.Status().PID
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	eventually(t, func() bool { s := p.Status(); return s.State == Running && s.PID != first })
	require.Equal(t, 1, p.Status().Restarts)
}

func TestCrashingProcessBacksOffAndItsLastWordsAreKept(t *testing.T) {
	t.Parallel()
	p := setup(t, "crash", Config{MinBackoff: 20 * time.Millisecond, MaxBackoff: time.Hour})
	begin := time.Now()
	eventually(t, func() bool { return p.Status().Restarts >= 3 })
	require.GreaterOrEqual(t, time.Since(begin), (20+40+80)*time.Millisecond)
	eventually(t, func() bool { return p.Status().State == Waiting })
	require.Equal(t, "customers.db.address: expected an address that starts with postgres://", p.Status().Reason)
	p.Stop()
	require.Equal(t, Stopped, p.Status().State, "also while it waits")
}

func TestReasonOfAnEnd(t *testing.T) {
	t.Parallel()
	killed := setup(t, "sleep", Config{MinBackoff: time.Hour})
	eventually(t, printed(killed, "ready"))
	require.NoError(t, syscall.Kill(killed.Status().PID, syscall.SIGKILL))
	eventually(t, func() bool { return killed.Status().State == Waiting })
	require.Equal(t, "signal: killed", killed.Status().Reason, "what it printed last has nothing to do with it")

	done := setup(t, "done", Config{MinBackoff: time.Hour})
	eventually(t, func() bool { return done.Status().State == Waiting })
	require.Equal(t, "exit status 0", done.Status().Reason)
}

func TestRunEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo $! > "+file+"; wait")
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cmd) }()
	var grandchild int
	eventually(t, func() bool {
		b, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		grandchild, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, <-ended, enough)
	eventually(t, func() bool { return !alive(grandchild) || zombie(grandchild) })
	require.ErrorIs(t, Run(ctx, exec.Command("true")), enough, "nothing is started after the end")
	require.NoError(t, Run(t.Context(), exec.Command("true")))
	require.Error(t, Run(t.Context(), exec.Command("false")))
}

func TestPrepareDecidesEachStart(t *testing.T) {
	t.Parallel()
	command := play("crash")
	starts := make(chan int, 100)
	n := 0
	command.Prepare = func(cmd *exec.Cmd) error {
		n++
		cmd.Env = append(cmd.Env, "START="+strconv.Itoa(n))
		starts <- n
		return nil
	}
	p, err := Start(Config{Log: filepath.Join(t.TempDir(), "log"), MinBackoff: time.Millisecond}, command)
	require.NoError(t, err)
	defer p.Stop()
	require.Equal(t, 1, <-starts)
	require.Equal(t, 2, <-starts)
}

func TestChildEndsWhenItsSupervisorIsKilled(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"TEST_PLAY=parent", "TEST_LOG=" + filepath.Join(t.TempDir(), "log")}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var child int
	_, err = fmt.Fscan(out, &child)
	require.NoError(t, err)
	require.True(t, alive(child))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed, which is an error
	eventually(t, func() bool { return !alive(child) || zombie(child) })
}

// zombie tells whether a process has ended and only waits for somebody to ask how: its new parent may be slow at that.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"nothing", nil, ""},
		{"one line", []string{"a\n"}, "a"},
		{"two lines", []string{"a\nb\n"}, "b"},
		{"empty lines do not count", []string{"a\n\n  \n"}, "a"},
		{"in pieces", []string{"a\nb", "c", "d\n"}, "bcd"},
		{"unfinished", []string{"a\nb"}, "b"},
		{"panic", []string{"a\npanic: out of cheese\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1"}, "panic: out of cheese"},
		{"bounded", []string{strings.Repeat("x", 3*maxLine)}, strings.Repeat("x", maxLine)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var last tail
			for _, w := range c.writes {
				n, err := last.Write([]byte(w))
				require.NoError(t, err)
				require.Equal(t, len(w), n)
			}
			require.Equal(t, c.want, last.String())
		})
	}
}
