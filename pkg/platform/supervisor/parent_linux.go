package supervisor

import (
	"os/exec"
	"runtime"
	"syscall"
)

// starter runs functions on one operating system thread that lives as long as the process. The kernel sends the parent
// death signal when the thread that started a child ends, not the process, so that children have to be started from a
// thread that the Go runtime never ends.
var starter = func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()

// StartTied starts cmd as the leader of a process group of its own, so that a Ctrl-C reaches only us, and in a way that it
// ends when this process does, however that happens; elsewhere than on Linux only if it looks after that (EndWithParent).
func StartTied(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	result := make(chan error, 1)
	starter <- func() { result <- cmd.Start() }
	return <-result
}

// EndWithParent does nothing on Linux, where the kernel ends a process whose parent died.
func EndWithParent() {}
