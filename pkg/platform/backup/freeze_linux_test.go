package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	helperEnv = "BACKUP_TEST_FREEZE"
	// a while in which a process that runs would have written.
	moment = 100 * time.Millisecond
)

func TestMain(m *testing.M) {
	if pid := os.Getenv(helperEnv); pid != "" {
		var root int
		if _, err := fmt.Sscan(pid, &root); err != nil {
			panic(err)
		}
		if _, err := freeze(root); err != nil {
			panic(err)
		}
		fmt.Println("frozen")
		select {}
	}
	os.Exit(m.Run())
}

// writers starts processes, one below the other, each of which writes all the time, and returns the first.
func writers(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `
		w() { while :; do echo x >>$1; sleep 0.002; done; }
		( w one & w two ) & w three`)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

func sizes(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	for _, name := range []string{"one", "two", "three"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return "not all"
		}
		all = append(all, fmt.Sprint(info.Size()))
	}
	return strings.Join(all, " ")
}

func awaitMore(t *testing.T, dir string) {
	t.Helper()
	before := strings.Fields(sizes(t, dir))
	require.Eventually(t, func() bool {
		now := strings.Fields(sizes(t, dir))
		return len(now) == 3 && (len(before) < 3 || now[0] != before[0] && now[1] != before[1] && now[2] != before[2])
	}, 10*time.Second, 5*time.Millisecond, "not all go on")
}

// still makes sure that nothing is written for a moment.
func still(t *testing.T, dir string) {
	t.Helper()
	before := sizes(t, dir)
	require.Never(t, func() bool { return sizes(t, dir) != before }, moment, moment/10, "something goes on")
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := writers(t, dir)
	for range 5 {
		awaitMore(t, dir)
		thaw, err := freeze(cmd.Process.Pid)
		require.NoError(t, err)
		still(t, dir)
		require.NoError(t, thaw())
		awaitMore(t, dir)
	}
}

// Whoever has frozen it dies, and it goes on.
func TestNothingStaysFrozen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := writers(t, dir)
	awaitMore(t, dir)
	helper := exec.CommandContext(t.Context(), os.Args[0])
	helper.Env = append(os.Environ(), helperEnv+"="+fmt.Sprint(cmd.Process.Pid))
	out, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	line := make([]byte, len("frozen"))
	_, err = out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "frozen", string(line))
	still(t, dir)
	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait())
	awaitMore(t, dir)
}
