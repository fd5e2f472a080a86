// Package state knows where a platform keeps what it must not forget: keys, stores, databases, logs and the addresses
// it listens on are all below one directory, so that two platforms on one machine share nothing.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/micro/micro/v3/service/runtime/local"
	"github.com/micro/micro/v3/service/store/file"
	"github.com/micro/micro/v3/util/config"
	"github.com/micro/micro/v3/util/user"
)

// Env is the environment variable that names the state directory.
const Env = "MICRO_STATE"

// DirName is the name of a state directory that is found by looking for it.
const DirName = ".micro"

// Locate returns the absolute path of the state directory: dir if it is given, else the value of MICRO_STATE, else the
// nearest directory called .micro in the working directory or above it, as git finds its own; else .micro in the home
// directory. Nothing is created.
func Locate(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv(Env)
	}
	if dir != "" {
		return filepath.Abs(dir)
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for d := wd; ; d = filepath.Dir(d) {
		candidate := filepath.Join(d, DirName)
		switch info, err := os.Stat(candidate); {
		case err == nil && info.IsDir():
			return candidate, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return "", fmt.Errorf("look for a state directory: %w", err)
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory: %w (choose a state directory with %s)", err, Env)
	}
	return filepath.Join(home, DirName), nil
}

// Use makes dir the state directory of this process and, through MICRO_STATE, of its children. It creates the directory,
// readable by its owner alone, and points everything of Micro that writes to a fixed place at it. It has to run before
// Micro is set up, because Micro's packages read these places when they first need them.
func Use(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the state directory: %w", err)
	}
	if err := os.Setenv(Env, dir); err != nil {
		return fmt.Errorf("set %s: %w", Env, err)
	}
	Choose(dir)
	config.SetConfig(filepath.Join(dir, "config.json"))
	file.DefaultDir = filepath.Join(dir, "server", "store")
	local.LogDir = Logs()
	return nil
}

// Choose makes dir the state directory of this process alone, and creates nothing.
func Choose(dir string) { user.Dir = dir }

// KeepPrivate makes whatever this process writes from now on readable by its owner alone, also in a state directory that
// was there before and is open to others.
func KeepPrivate() { syscall.Umask(0o077) }

// Dir is the state directory that Use has set.
func Dir() string { return user.Dir }

// Logs is the directory with one log file for each process of the platform.
func Logs() string { return filepath.Join(Dir(), "logs") }

// StandIn is the directory of what something that stands in for a service of others keeps.
func StandIn(name string) string { return filepath.Join(Dir(), "stand-ins", name) }

// Binaries is the directory of the executables that the runtime keeps.
func Binaries() string { return filepath.Join(Dir(), "services") }

// Journal is the directory where the gateway keeps what it has let through until usage has been told of it.
func Journal() string { return filepath.Join(Dir(), "gateway") }

// Keys is the directory of the keys that tokens are signed and checked with.
func Keys() string { return filepath.Join(Dir(), "keys") }

// OwnCertificates is the directory with a directory of certificates for each process, where the server makes them itself.
func OwnCertificates() string { return filepath.Join(Dir(), "tls") }

// Authority is the directory of the keys that these certificates are signed with.
func Authority() string { return filepath.Join(Dir(), "authority") }

// writeFile replaces a file by one with that line, which is either wholly there or not at all, and for its owner alone.
func writeFile(name, line string) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
