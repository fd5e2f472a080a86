package supervisor

import (
	"bytes"
	"sync"
)

// maxLine bounds the line a tail remembers, in bytes.
const maxLine = 1000

// tail is a writer that remembers the last line written to it that is not empty, or what a Go program panicked about,
// which it writes before a stack.
type tail struct {
	mu         sync.Mutex
	line       []byte // the last whole line
	panicked   bool   // whether that is a panic's
	unfinished []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		t.unfinished = appendBounded(t.unfinished, b[:i])
		if line := bytes.TrimSpace(t.unfinished); len(line) > 0 && !t.panicked {
			t.line = append(t.line[:0], line...)
			t.panicked = bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: "))
		}
		t.unfinished, b = t.unfinished[:0], b[i+1:]
	}
	t.unfinished = appendBounded(t.unfinished, b)
	return n, nil
}

func appendBounded(to, b []byte) []byte {
	return append(to, b[:min(len(b), maxLine-len(to))]...)
}

// String returns the last line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if line := bytes.TrimSpace(t.unfinished); len(line) > 0 && !t.panicked {
		return string(line)
	}
	return string(t.line)
}
