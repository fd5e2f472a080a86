//go:build !linux

package supervisor

import (
	"io"
	"os"
	"os/exec"
	"syscall"
)

// endWithStdin tells a child that its standard input is a pipe that its parent holds open for as long as it lives.
const endWithStdin = "MICRO_END_WITH_STDIN"

// StartTied starts cmd as the leader of a process group of its own, so that a Ctrl-C reaches only us, and gives it a pipe
// that breaks when this process ends, however that happens: one of ours ends with it (EndWithParent).
func StartTied(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, endWithStdin+"=true")
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	return cmd.Start()
}

// EndWithParent ends this process when the supervisor that started it does, even by a SIGKILL. Without a supervisor it
// does nothing.
func EndWithParent() {
	if os.Getenv(endWithStdin) != "true" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // returns when the pipe breaks, whatever the error
		os.Exit(1)
	}()
}
