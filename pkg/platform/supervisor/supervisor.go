package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// State is the state a process is in.
type State int

const (
	// Running is a process that was started and has not ended.
	Running State = iota
	// Waiting is a process that ended and is started again when its backoff has passed.
	Waiting
	// Stopped is a process that was told to stop and has ended.
	Stopped
)

// Command says what to run. The zero value of each limit means its default.
type Command struct {
	// Path is the executable, Args its arguments without the name, Dir its working directory and Env its whole
	// environment: nothing is inherited.
	Path string
	Args []string
	Dir  string
	Env  []string
	// Prepare, where it is set, is called before each start and may change what is run then.
	Prepare func(*exec.Cmd) error
}

// Config says how a process is looked after.
type Config struct {
	// Log is the file that collects what the process prints. It is cut at LogSize megabytes (10) and two earlier files
	// are kept beside it.
	Log     string
	LogSize int
	// MinBackoff (100 ms) is waited before the first restart. It doubles with each further one up to MaxBackoff (30 s)
	// and is forgotten once the process has run for longer than MaxBackoff.
	MinBackoff, MaxBackoff time.Duration
	// Grace (5 s) is the time between SIGTERM and SIGKILL when the process is stopped.
	Grace time.Duration
}

// Status is what is known of a process at one moment.
type Status struct {
	State State
	// PID is the process's id while it runs.
	PID int
	// Started is the time of the last start, Restarts the number of starts after the first.
	Started  time.Time
	Restarts int
	// Reason is why the process ended last, unless it was told to: what it printed last if it failed, because by the
	// house's rule a service that cannot start says why there, in one sentence; else how it ended, as in "signal: killed".
	Reason string
}

// Process is a supervised process. It is safe for concurrent use.
type Process struct {
	config Config
	log    *lumberjack.Logger
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	command Command
	status  Status
}

// Start starts command and keeps it running until Stop. It fails if the process cannot be started at all, for example
// because there is no such executable; a process that ends is started again.
func Start(config Config, command Command) (*Process, error) {
	if config.Log == "" {
		return nil, errors.New("supervisor: a process needs a log file")
	}
	setDefault(&config.LogSize, 10)
	setDefault(&config.MinBackoff, 100*time.Millisecond)
	setDefault(&config.MaxBackoff, 30*time.Second)
	setDefault(&config.Grace, 5*time.Second)
	p := &Process{
		config:  config,
		log:     &lumberjack.Logger{Filename: config.Log, MaxSize: config.LogSize, MaxBackups: 2},
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		command: command,
	}
	cmd, tail, err := p.start()
	if err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	go p.keep(cmd, tail)
	return p, nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Status returns what is known of the process now.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Stop ends the process with SIGTERM, after the grace period with SIGKILL, and returns when it and everything it
// started has ended. It may be called more than once.
func (p *Process) Stop() {
	p.mu.Lock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	<-p.done
}

// start starts the command once. The returned tail remembers the last line it prints.
func (p *Process) start() (*exec.Cmd, *tail, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.command.Path, p.command.Args...) //nolint:noctx // running a given command until told to stop is the purpose
	cmd.Dir, cmd.Env = p.command.Dir, p.command.Env
	last := &tail{}
	output := io.MultiWriter(p.log, last)
	cmd.Stdout, cmd.Stderr = output, output
	// A grandchild that outlives the process would hold the pipe open: do not wait for it.
	cmd.WaitDelay = time.Second
	if p.command.Prepare != nil {
		if err := p.command.Prepare(cmd); err != nil {
			return nil, nil, fmt.Errorf("prepare %s: %w", p.command.Path, err)
		}
	}
	if err := StartTied(cmd); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", p.command.Path, err)
	}
	if !p.status.Started.IsZero() {
		p.status.Restarts++
	}
	p.status.State, p.status.PID, p.status.Started = Running, cmd.Process.Pid, time.Now()
	return cmd, last, nil
}

// keep waits for the process and starts it again until it is told to stop.
func (p *Process) keep(cmd *exec.Cmd, last *tail) {
	defer close(p.done)
	defer p.log.Close() //nolint:errcheck // nothing is left to be done with a log that cannot be closed
	backoff := p.config.MinBackoff
	for {
		if cmd != nil && p.wait(cmd) {
			p.ended(Stopped, "")
			return
		}
		if cmd != nil {
			if time.Since(p.Status().Started) > p.config.MaxBackoff {
				backoff = p.config.MinBackoff
			}
			p.ended(Waiting, reason(cmd, last))
		}
		select {
		case <-p.stop:
			p.ended(Stopped, "")
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, p.config.MaxBackoff)
		var err error
		if cmd, last, err = p.start(); err != nil {
			cmd = nil
			p.ended(Waiting, err.Error())
		}
	}
}

// wait returns when the process has ended; true if that was because of Stop.
func (p *Process) wait(cmd *exec.Cmd) (stopped bool) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // why it ended does not matter: it is started again, and its log has its last words
	}()
	defer func() {
		// Whatever it left behind belongs to its process group and must not run beside its successor.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}()
	select {
	case <-exited:
		return false
	case <-p.stop:
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // an error means that it has ended already
	select {
	case <-exited:
	case <-time.After(p.config.Grace):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
	return true
}

// reason says why a process ended that was not told to.
func reason(cmd *exec.Cmd, last *tail) string {
	if line := last.String(); line != "" && cmd.ProcessState.ExitCode() > 0 {
		return line
	}
	return cmd.ProcessState.String()
}

func (p *Process) ended(state State, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.State, p.status.PID = state, 0
	if reason != "" {
		p.status.Reason = reason
	}
}
