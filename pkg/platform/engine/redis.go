package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
)

// Redis starts a Redis server. It appends to a file, which it forces to the disk every second; it never throws anything out
// for lack of memory, and has 1024 databases for tests that want one to themselves.
func Redis(ctx context.Context, config Config) (*Server, error) { return start(ctx, redis{}, config) }

type redis struct{}

func (redis) name() string { return "Redis" }

func (redis) prepare(_ context.Context, s *Server) error { return os.MkdirAll(s.data(), 0o700) }

func (redis) command(s *Server) (*exec.Cmd, error) {
	path, err := program("redis-server", "Redis")
	if err != nil {
		return nil, err
	}
	args := []string{
		"--port", strconv.Itoa(s.Port()), "--bind", "127.0.0.1", "--dir", s.data(), "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction", "--databases", "1024",
	}
	return exec.Command(path, append(args, s.config.Args...)...), nil //nolint:noctx // it is found on the PATH, and ended by Stop
}

// ready takes a server for ready that has read its data; one that wants a password has, and one that speaks TLS as soon as it
// listens.
func (redis) ready(ctx context.Context, s *Server) bool {
	if slices.Contains(s.config.Args, "--tls-port") {
		return answers(ctx, s.Host(), "", "")
	}
	const ping = "PING\r\n"
	return answers(ctx, s.Host(), ping, "+PONG") || answers(ctx, s.Host(), ping, "-NOAUTH")
}

func (redis) stop() []syscall.Signal { return []syscall.Signal{syscall.SIGTERM} }

func (redis) address(port int) string { return fmt.Sprintf("redis://127.0.0.1:%d", port) }
