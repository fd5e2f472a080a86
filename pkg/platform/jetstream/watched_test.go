package jetstream

import (
	"bytes"
	"fmt"
	"sync"
)

// watched takes what a child process writes.
type watched struct {
	more chan struct{}

	mu           sync.Mutex
	rest         []byte
	acknowledged int
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			break
		}
		var n int
		if _, err := fmt.Sscanf(string(line), "acknowledged %d", &n); err == nil {
			w.acknowledged = n
		}
		w.rest = rest
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// last is how many events were acknowledged.
func (w *watched) last() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acknowledged
}
