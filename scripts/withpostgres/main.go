//go:build unix

// Withpostgres runs a command with a throwaway PostgreSQL beside it:
//
//	withpostgres [-if-installed] command [arguments]
//
// The server has its own data directory and a free port on the loopback, the command finds its address in
// TEST_POSTGRES_ADDRESS, and when the command ends, or this program does, however it does, the server ends too. It is a
// program, rather than a shell script around pg_ctl, because of that last promise: the kernel keeps it on Linux even
// when this process is killed.
//
// The settings are PostgreSQL's defaults, durability included, so that what is measured on it means something.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTimeout is generous: initdb on a busy machine with a slow disk takes seconds, never a minute.
const startTimeout = time.Minute

func init() {
	// Parent-death signals follow the thread that started the child: keep main on the first one, which ends last.
	runtime.LockOSThread()
}

func main() {
	ifInstalled := flag.Bool("if-installed", false, "run the command without a server when PostgreSQL is not installed")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: withpostgres [-if-installed] command [arguments]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}

	code, err := run(*ifInstalled, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
	}
	os.Exit(code)
}

func run(ifInstalled bool, command []string) (int, error) {
	// Caught from here on: whatever is created below is removed again.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	bin, err := findPrograms()
	if err != nil {
		if !ifInstalled {
			return 1, err
		}
		fmt.Fprintf(os.Stderr, "withpostgres: going on without: %v\n", err)
		return runCommand(command, nil, signals)
	}

	server, err := start(bin, signals)
	if err != nil {
		return 1, err
	}
	defer server.stop()
	return runCommand(command, []string{"TEST_POSTGRES_ADDRESS=" + server.address()}, signals)
}

// runCommand runs the command in the foreground and returns its exit code. It gets Ctrl-C from the terminal by itself,
// like every process of the foreground group, so only signals sent to this process alone are handed on.
func runCommand(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(cmd.SysProcAttr, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGINT {
				_ = cmd.Process.Signal(s) // it may have ended meanwhile
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 1, err
			}
			if code := cmd.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 1, fmt.Errorf("%s: %s", command[0], cmd.ProcessState)
		}
	}
}

// findPrograms returns the directory of initdb, postgres and pg_isready. Debian keeps them off the PATH, and where the
// PATH has only a link to one of them the others are beside what it points to.
func findPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // only a malformed pattern is an error
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: `make platform-deps` does it as root on Debian and Ubuntu")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // what is no number sorts first
		return n
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) < version(found[j]) })
	return filepath.Dir(found[len(found)-1]), nil
}

type server struct {
	bin, dir   string
	port       int
	credential *syscall.Credential
	process    *exec.Cmd
	ended      chan struct{}
}

func start(bin string, signals <-chan os.Signal) (_ *server, err error) {
	s := &server{bin: bin}
	if s.credential, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "withpostgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.credential != nil {
		if err := os.Chown(s.dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return nil, err
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	// Trust is enough: the address is the loopback's, the data is a test's and gone in a minute.
	initdb := s.command(ctx, "initdb", "-D", s.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}

	// The port is free when it is chosen and may be taken when it is used.
	for attempt := 1; ; attempt++ {
		err = s.launch(ctx, signals)
		if err == nil || attempt == 3 || !strings.Contains(s.log(), "could not bind") {
			return s, err
		}
	}
}

func (s *server) launch(ctx context.Context, signals <-chan os.Signal) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	s.port = port
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own descriptor of it

	s.process = s.command(context.Background(), "postgres", "-D", s.data(), "-p", strconv.Itoa(port), "-k", s.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")
	s.process.Stdout, s.process.Stderr = log, log
	dieWithParent(s.process.SysProcAttr, syscall.SIGQUIT)
	if err := s.process.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait() // how it ended is in its log
		close(ended)
	}(s.process, s.ended)

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ready := s.command(ctx, "pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port))
		if ready.Run() == nil {
			return nil
		}
		select {
		case <-tick.C:
		case sig := <-signals:
			return fmt.Errorf("stopped while the server started: %v", sig)
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready after %v:\n%s", startTimeout, s.log())
		case <-s.ended:
			return fmt.Errorf("the server ended:\n%s", s.log())
		}
	}
}

// command prepares one of PostgreSQL's programs: it refuses to run as root, and Ctrl-C must not reach the server before
// the command has ended, hence a process group of its own.
func (s *server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir // the caller's may be closed to the other user
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.credential}
	return cmd
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) address() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

func (s *server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stop ends the server, in order if it can, and removes its data.
func (s *server) stop() {
	if s.ended != nil {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
			_ = s.process.Process.Signal(sig) // it may have ended by itself
			select {
			case <-s.ended:
			case <-time.After(10 * time.Second):
				continue
			}
			break
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
	}
}

// unprivileged returns the user to run the server as: nil for oneself, or, for root, Debian's postgres or nobody.
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

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
