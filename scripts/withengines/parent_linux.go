package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

func init() {
	// Parent-death signals follow the thread that started the child: keep main on the first one, which ends last.
	runtime.LockOSThread()
}

// startTied starts the command, which the kernel asks to end when this process is killed.
func startTied(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd.Start()
}
