package main

import (
	"os"
	"os/exec"
	"syscall"
)

// confine makes a command see nothing but what is below root, as nobody, if this process may do that.
func confine(cmd *exec.Cmd, root string) {
	if os.Geteuid() != 0 {
		return
	}
	cmd.Path, cmd.Dir = "/bin/program", "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
}
