package main

import "syscall"

// dieWithParent has the kernel send the child a signal when this process is killed.
func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }
