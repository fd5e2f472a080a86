package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/m3o/backend/pkg/platform/supervisor"
)

const (
	// startTimeout is generous: the first start on a busy machine with a slow disk takes seconds, never a minute.
	startTimeout = time.Minute
	// stopTimeout is how long each way to stop a server is given before the next, which is ruder.
	stopTimeout = 10 * time.Second
	// attempts is how many ports are tried: one is free when it is chosen and may be taken when it is used.
	attempts = 3
	// stillEnding is what PostgreSQL says when it was killed and its children, which notice by themselves, have not gone yet.
	stillEnding = "pre-existing shared memory block"
)

// Config says how a server is run.
type Config struct {
	// Dir is where its data and its log are. It is made if it is not there, and kept. Required.
	Dir string
	// Port is where it listens; any free one when it is 0.
	Port int
	// Args are more arguments for its program, which win over ours.
	Args []string
	// Cluster are other members, for etcd.
	Cluster []Member
	// Announce is the host:port that it tells whoever asks to reach it by; where it listens when empty. PostgreSQL tells nobody.
	Announce string
	// Follows is the host:port of the server whose replica or standby it is, and for a Sentinel of the one that it looks after.
	Follows string
}

// Server is a server that was started. It is not safe for concurrent use.
type Server struct {
	kind   kind
	config Config
	// another says that the port was chosen here, so that another one may be.
	another bool
	process *exec.Cmd
	ended   chan struct{}
}

// kind is what sort of server it is.
type kind interface {
	// name is that of the engine, for people.
	name() string
	// prepare makes what has to be in the directory before the first start.
	prepare(ctx context.Context, s *Server) error
	// command is what starts it.
	command(s *Server) (*exec.Cmd, error)
	// ready asks whether it answers.
	ready(ctx context.Context, s *Server) bool
	// stop are the signals that end it, the most polite first.
	stop() []syscall.Signal
	// address is what its clients are configured with.
	address(port int) string
}

func start(ctx context.Context, k kind, config Config) (*Server, error) {
	s := &Server{kind: k, config: config, another: config.Port == 0}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", k.name(), err)
	}
	if err := k.prepare(ctx, s); err != nil {
		return nil, fmt.Errorf("%s: %w", k.name(), err)
	}
	return s, s.Start(ctx)
}

// Start starts the server again that was stopped or killed, on the data and the port that it had, and returns when it
// answers.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		if s.config.Port == 0 {
			port, err := freePort(ctx)
			if err != nil {
				return err
			}
			s.config.Port = port
		}
		err := s.launch(ctx)
		if err == nil {
			s.another = false
			return nil
		}
		log := s.Log()
		if strings.Contains(log, stillEnding) && ctx.Err() == nil {
			_ = s.Stop() // it has ended
			time.Sleep(50 * time.Millisecond)
			continue
		}
		err = errors.Join(fmt.Errorf("%s: %w", s.kind.name(), err), s.Stop())
		if !s.another || attempt == attempts || !strings.Contains(strings.ToLower(log), "address already in use") {
			return err
		}
		s.config.Port = 0
	}
}

func (s *Server) launch(ctx context.Context) error {
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own descriptor of it
	if s.process, err = s.kind.command(s); err != nil {
		return err
	}
	s.process.Stdout, s.process.Stderr = log, log
	if err := supervisor.StartTied(s.process); err != nil {
		s.process = nil
		return err
	}
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait() // how it ended is in its log
		close(ended)
	}(s.process, s.ended)

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !s.kind.ready(ctx, s) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w\n%s", context.Cause(ctx), s.Log())
		case <-s.ended:
			return fmt.Errorf("it ended:\n%s", s.Log())
		}
	}
	return nil
}

// Port is where it listens, on 127.0.0.1.
func (s *Server) Port() int { return s.config.Port }

// Host is where it listens, as 127.0.0.1:6379.
func (s *Server) Host() string { return fmt.Sprintf("127.0.0.1:%d", s.config.Port) }

// Address is what the profile is configured with to use it.
func (s *Server) Address() string { return s.kind.address(s.config.Port) }

// Log is what it has written since it was started.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (s *Server) logFile() string { return filepath.Join(s.config.Dir, "log") }

func (s *Server) data() string { return filepath.Join(s.config.Dir, "data") }

// Ended is closed when the process that was started last has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Signal sends the process a signal.
func (s *Server) Signal(signal syscall.Signal) error { return s.process.Process.Signal(signal) }

// Kill kills it, as the lack of memory or of power would, and waits until it has gone.
func (s *Server) Kill() error {
	if err := s.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.ended
	return nil
}

// Stop ends it, in order if it can. Its data stays.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	for _, signal := range append(s.kind.stop(), syscall.SIGKILL) {
		_ = s.Signal(signal) // it may have ended by itself
		select {
		case <-s.ended:
			return nil
		case <-time.After(stopTimeout):
		}
	}
	return fmt.Errorf("%s: it does not end", s.kind.name())
}

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// program finds an installed program, or says how to get it.
func program(name, engine string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: `make platform-deps` does it as root on Debian and Ubuntu", engine)
	}
	return path, nil
}

// answers asks a server over TCP and returns whether its answer begins with what is expected.
func answers(ctx context.Context, host, question, want string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // nothing more is expected of it
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return false
	}
	if _, err := conn.Write([]byte(question)); err != nil {
		return false
	}
	answer := make([]byte, 512)
	n, _ := conn.Read(answer)
	return strings.HasPrefix(string(answer[:n]), want)
}
