package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settleTime is how long a process may take to stop: what waits for a disk does not stop before it has its answer.
const settleTime = 5 * time.Second

// guard continues the processes whose numbers it is told when its input ends: when it is closed, and when whoever holds it has
// died, in whatever way.
const guard = `while read -r pid; do all="$all $pid"; done; kill -CONT $all 2>/dev/null; true`

// freeze stops a process and all below it, so that nothing changes until thaw is called, or this process ends. No process
// notices, except by its clock.
func freeze(root int) (thaw func() error, err error) {
	// Who stops this process now, with Ctrl-Z, would stop everything for as long.
	signal.Ignore(syscall.SIGTSTP)
	cmd := exec.Command("sh", "-c", guard) //nolint:noctx // it ends when its input does
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		signal.Reset(syscall.SIGTSTP)
		return nil, fmt.Errorf("start what continues the platform: %w", err)
	}
	thaw = func() error {
		defer signal.Reset(syscall.SIGTSTP)
		return errors.Join(in.Close(), cmd.Wait())
	}
	if err := stopTree(root, in); err != nil {
		return nil, errors.Join(err, thaw())
	}
	return thaw, nil
}

// stopTree stops the processes. A parent that has stopped has no more children, so that there is an end to it.
func stopTree(root int, guard io.Writer) error {
	stopped := make(map[int]bool)
	for {
		tree, err := treeOf(root)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(tree, func(pid int) bool { return stopped[pid] })
		if len(fresh) == 0 {
			return nil
		}
		for _, pid := range fresh {
			stopped[pid] = true
			if _, err := fmt.Fprintln(guard, pid); err != nil {
				return err
			}
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d for a moment: %w", pid, err)
			}
		}
		for _, pid := range fresh {
			if err := awaitStop(pid); err != nil {
				return err
			}
		}
	}
}

// treeOf returns a process and all below it, parents first.
func treeOf(root int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := stat(filepath.Join("/proc", e.Name(), "stat")); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// awaitStop waits until no thread of a process runs.
func awaitStop(pid int) error {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(100 * time.Microsecond) {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has ended
		}
		if err != nil {
			return err
		}
		running := slices.ContainsFunc(threads, func(t fs.DirEntry) bool {
			state, _, ok := stat(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
			return ok && !strings.Contains("TtZX", state)
		})
		if !running {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop: it waits for its disk", pid)
		}
	}
}

// stat reads the state and the parent of a process or a thread; ok is false when it has ended.
func stat(file string) (state string, parent int, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", 0, false
	}
	// The name before them is in parentheses, and may have some itself.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}
