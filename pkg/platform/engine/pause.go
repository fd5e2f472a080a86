package engine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// announced is the host:port that it tells others to reach it by.
func (s *Server) announced() string {
	if s.config.Announce != "" {
		return s.config.Announce
	}
	return s.Host()
}

// Pause stops the server and its children where they are, as a machine that stalls would: its connections stay and say
// nothing. Linux only.
func (s *Server) Pause() error {
	// The parent first, so that it makes no more children.
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, child := range s.children() {
		_ = syscall.Kill(child, syscall.SIGSTOP) // it may have ended
	}
	return nil
}

// Resume has it go on.
func (s *Server) Resume() error {
	for _, child := range slices.Backward(s.children()) {
		_ = syscall.Kill(child, syscall.SIGCONT) // it may have ended
	}
	return s.Signal(syscall.SIGCONT)
}

// Running says whether it has not ended, by itself or otherwise.
func (s *Server) Running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return s.process != nil
	}
}

// Pid is its process.
func (s *Server) Pid() int { return s.process.Process.Pid }

func (s *Server) children() []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.Pid()))
	if err != nil {
		return nil
	}
	var found []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
