//go:build unix && !linux

package main

import "syscall"

// dieWithParent does nothing where the kernel offers nothing: a killed withpostgres leaves its children there.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
