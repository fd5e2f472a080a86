//go:build unix

// Withengines runs a command with throwaway servers of etcd, Redis and PostgreSQL beside it:
//
//	withengines [-if-installed] [-dir directory] command [arguments]
//
// They listen on free ports of the loopback, tests find their addresses in TEST_ETCD_ADDRESS, TEST_REDIS_ADDRESS and
// TEST_POSTGRES_ADDRESS and the platform profile in MICRO_ETCD_ADDRESS, MICRO_REDIS_ADDRESS and MICRO_POSTGRES_ADDRESS. When
// the command ends, or this program does, however it does, they end too. Their data is gone then, unless it is given a
// directory to keep it in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/m3o/backend/pkg/platform/engine"
)

func main() {
	ifInstalled := flag.Bool("if-installed", false, "run the command without servers when one of them is not installed")
	dir := flag.String("dir", "", "keep their data below this directory")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: withengines [-if-installed] [-dir directory] command [arguments]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	code, err := run(*ifInstalled, *dir, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withengines:", err)
	}
	os.Exit(code)
}

func run(ifInstalled bool, dir string, command []string) (code int, err error) {
	// Caught from here on: whatever is created below is removed again.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	starting, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	if err := engine.Installed(); err != nil {
		if !ifInstalled {
			return 1, err
		}
		fmt.Fprintf(os.Stderr, "withengines: going on without: %v\n", err)
		return runCommand(command, nil, signals)
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "withengines-"); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL may run as another user, who has to get to its own
		return 1, err
	}
	started := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("stopped while the servers started: %v", s))
		case <-started:
		}
	}()
	engines, err := engine.StartAll(starting, dir)
	close(started)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, engines.Stop()) }()
	return runCommand(command, engines.Env(), signals)
}

// runCommand runs the command in the foreground and returns its exit code. It gets Ctrl-C from the terminal by itself,
// like every process of the foreground group, so only signals sent to this process alone are handed on.
func runCommand(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	if err := startTied(cmd); err != nil {
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
			return 1, fmt.Errorf("%s: %s", strings.Join(command, " "), cmd.ProcessState)
		}
	}
}
