package supervisor

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// interruptTime is how long a command may take to clean up after itself.
const interruptTime = 5 * time.Second

// Run runs a command to its end, as a process group that does not outlive this process. When ctx ends, the group gets a
// SIGINT, so that it can clean up, and after five seconds a SIGKILL; the error is then the context's cause.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd.WaitDelay = time.Second // what it leaves behind may hold its output open
	if err := StartTied(cmd); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // an error means that it has ended already
	select {
	case <-exited:
	case <-time.After(interruptTime):
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return context.Cause(ctx)
}
