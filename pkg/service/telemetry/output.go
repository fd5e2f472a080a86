package telemetry

import (
	"io"
	"sync"
	"time"
)

const (
	// laterMost is how long a line waits that is written later, and laterFull at how many bytes it waits no longer: half of
	// what a pipe holds.
	laterMost = 50 * time.Millisecond
	laterFull = 32 << 10
	// laterRoom is how many bytes wait at most, while whoever reads the log is slow.
	laterRoom = 1 << 20
	// laterReuse is up to which size a buffer is used again.
	laterReuse = 2 * laterFull
)

// Output is where the log of a process goes. What is written to it goes out at once. Lines of which there are very many can
// be written to Later instead: they go out together, which costs one system call, and whoever reads the log wakes up once.
// All stay whole and in the order in which they were written. It is safe for concurrent use.
type Output struct {
	to   io.Writer
	lost func(lines int)

	// writing is held by whoever writes to to, which may block, and is taken before mu.
	writing sync.Mutex
	spare   []byte

	mu      sync.Mutex
	waiting []byte
	refused int // lines there was no room for
	timer   *time.Timer
	due     time.Duration // in what time a flush was ordered that has not begun; none when it is 0
}

// NewOutput returns an output that writes to to. It calls lost with the number of lines, one at least, that found no room
// because to took nothing for too long; lost may log.
func NewOutput(to io.Writer, lost func(lines int)) *Output { return &Output{to: to, lost: lost} }

// Write writes a line, after those that wait.
func (o *Output) Write(line []byte) (int, error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	before, _ := o.take(false)
	if len(before) == 0 {
		o.spare = before
		return o.to.Write(line)
	}
	if _, err := o.emit(append(before, line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Flush writes what waits.
func (o *Output) Flush() {
	o.writing.Lock()
	lines, refused := o.take(true)
	if len(lines) > 0 {
		_, _ = o.emit(lines) // there is nobody to tell: this is the log
	} else {
		o.spare = lines
	}
	o.writing.Unlock()
	if refused > 0 {
		o.lost(refused)
	}
}

// take empties what waits. Only a flush takes the number of lines that were refused, as nobody else may log it: a logger
// waits for its own line to be written.
func (o *Output) take(flush bool) (lines []byte, refused int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines, o.waiting, o.spare = o.waiting, o.spare[:0], nil
	if flush {
		refused, o.refused, o.due = o.refused, 0, 0
	}
	return lines, refused
}

// emit writes lines, whose memory it keeps; o.writing is held.
func (o *Output) emit(lines []byte) (int, error) {
	n, err := o.to.Write(lines)
	if cap(lines) <= laterReuse {
		o.spare = lines
	}
	return n, err
}

// Later is a writer that never blocks for long: a line waits for others for 50 ms at most, unless a line that goes out at once
// takes it along. So much is lost when the process is killed.
func (o *Output) Later() io.Writer { return later{o} }

type later struct{ *Output }

// Write keeps a line for a moment.
func (o later) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting)+len(line) > laterRoom {
		o.refused++
		return len(line), nil
	}
	o.waiting = append(o.waiting, line...)
	switch {
	case o.due == 0:
		o.order(laterMost)
	case o.due == laterMost && len(o.waiting) >= laterFull:
		o.order(1)
	}
	return len(line), nil
}

// order has a flush begin in so much time; o.mu is held.
func (o *Output) order(in time.Duration) {
	o.due = in
	if o.timer == nil {
		o.timer = time.AfterFunc(in, o.Flush)
	} else {
		o.timer.Reset(in)
	}
}
