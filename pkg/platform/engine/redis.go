package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Redis starts a Redis server. It appends to a file, which it forces to the disk every second; it never throws anything out
// for lack of memory, and has 1024 databases for tests that want one to themselves.
func Redis(ctx context.Context, config Config) (*Server, error) { return start(ctx, redis{}, config) }

type redis struct{}

func (redis) name() string { return "Redis" }

// prepare makes the file that the server keeps whom it follows in, when that changes.
func (redis) prepare(_ context.Context, s *Server) error {
	follows := ""
	if s.config.Follows != "" {
		follows = "replicaof " + strings.ReplaceAll(s.config.Follows, ":", " ") + "\n"
	}
	return errors.Join(os.MkdirAll(s.data(), 0o700), os.WriteFile(s.redisConfig(), []byte(follows), 0o600))
}

func (s *Server) redisConfig() string { return filepath.Join(s.config.Dir, "redis.conf") }

func (redis) command(s *Server) (*exec.Cmd, error) {
	path, err := program("redis-server", "Redis")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.announced())
	if err != nil {
		return nil, err
	}
	args := []string{
		s.redisConfig(), "--replica-announce-ip", host, "--replica-announce-port", port, "--repl-diskless-sync-delay", "0",
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

// SentinelMaster is the name that a Sentinel knows its master by.
const SentinelMaster = "main"

// Sentinel starts a Sentinel that looks after the Redis server of Config.Follows by itself: when that has not answered for a
// second, one of its replicas takes over.
func Sentinel(ctx context.Context, config Config) (*Server, error) {
	return start(ctx, sentinel{}, config)
}

type sentinel struct{ redis }

func (sentinel) name() string { return "Sentinel" }

func (sentinel) prepare(_ context.Context, s *Server) error {
	lines := []string{
		"sentinel monitor " + SentinelMaster + " " + strings.ReplaceAll(s.config.Follows, ":", " ") + " 1",
		"sentinel down-after-milliseconds " + SentinelMaster + " 1000",
		"sentinel failover-timeout " + SentinelMaster + " 5000",
	}
	return errors.Join(os.MkdirAll(s.data(), 0o700), os.WriteFile(s.redisConfig(), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

func (sentinel) command(s *Server) (*exec.Cmd, error) {
	path, err := program("redis-server", "Redis")
	if err != nil {
		return nil, err
	}
	args := []string{s.redisConfig(), "--sentinel", "--port", strconv.Itoa(s.Port()), "--bind", "127.0.0.1", "--dir", s.data()}
	return exec.Command(path, append(args, s.config.Args...)...), nil //nolint:noctx // it is found on the PATH, and ended by Stop
}

func (sentinel) address(port int) string {
	return fmt.Sprintf("redis+sentinel://127.0.0.1:%d/%s", port, SentinelMaster)
}
