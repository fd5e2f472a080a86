//go:build platform

package postgres

import (
	"io/fs"
	"os"
	"syscall"
)

// chown gives a file to whom another one belongs: PostgreSQL may run as another user.
func chown(file string, owner fs.FileInfo) error {
	stat := owner.Sys().(*syscall.Stat_t)
	return os.Chown(file, int(stat.Uid), int(stat.Gid))
}
