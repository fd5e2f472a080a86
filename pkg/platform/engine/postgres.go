package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
)

// Postgres starts a PostgreSQL server with its own defaults, durability included, so that what is measured on it means
// something. Its superuser is postgres, who needs no password. As root, which it refuses to run as, it runs as Debian's user
// postgres or as nobody, who gets the directory: whoever else has a directory above it must let that user through.
func Postgres(ctx context.Context, config Config) (*Server, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	credential, err := unprivileged()
	if err != nil {
		return nil, err
	}
	return start(ctx, &postgres{bin, credential}, config)
}

type postgres struct {
	bin        string
	credential *syscall.Credential
}

func (*postgres) name() string { return "PostgreSQL" }

func (k *postgres) prepare(ctx context.Context, s *Server) error {
	if k.credential != nil {
		if err := os.Chown(s.config.Dir, int(k.credential.Uid), int(k.credential.Gid)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); err == nil {
		return nil
	}
	if s.config.Follows != "" {
		return k.copy(ctx, s)
	}
	// Trust is enough: the address is the loopback's, and the data is for trying things out.
	initdb := k.run(ctx, s, "initdb", "-D", s.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (k *postgres) command(s *Server) (*exec.Cmd, error) {
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.Port()), "-k", s.config.Dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"}
	return k.run(context.Background(), s, "postgres", append(args, s.config.Args...)...), nil
}

func (k *postgres) ready(ctx context.Context, s *Server) bool {
	return k.run(ctx, s, "pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port())).Run() == nil
}

// stop is a fast shutdown, and an immediate one.
func (*postgres) stop() []syscall.Signal { return []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} }

func (*postgres) address(port int) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
}

// run prepares one of PostgreSQL's programs.
func (k *postgres) run(ctx context.Context, s *Server, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(k.bin, name), args...)
	cmd.Dir = s.config.Dir // the caller's may be closed to the other user
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: k.credential}
	return cmd
}

// postgresPrograms returns the directory of initdb, postgres and pg_isready. Debian keeps them off the PATH, and where the
// PATH has only a link to one of them the others are beside what it points to.
func postgresPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // only a malformed pattern is an error
	if len(found) == 0 {
		return "", errors.New("it is not installed: `make platform-deps` does it as root on Debian and Ubuntu")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // what is no number sorts first
		return n
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) < version(found[j]) })
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged returns the user to run a server as that refuses to run as root: nil for oneself.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}
