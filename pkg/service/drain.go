package service

import "sync"

// drain counts the calls that are being worked on, so that a server that stops answers them before it goes.
//
// Micro waits for a sync.WaitGroup, to which it adds calls itself. Adding to a group that has just become empty while
// somebody waits for it is a misuse that panics; so the group is held by us until no call is inside, and calls that come
// later are refused before Micro sees them.
type drain struct {
	wait sync.WaitGroup

	// A lock, although a counter would do: with a counter, calls that come as fast as they can hardly ever let it be zero.
	mu     sync.Mutex
	calls  int
	ending bool
	ended  bool
}

func newDrain() *drain {
	d := new(drain)
	d.wait.Add(1)
	return d
}

// held is the group for Micro to wait for.
func (d *drain) held() *sync.WaitGroup { return &d.wait }

// enter says that a call has come; false that it came too late.
func (d *drain) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return false
	}
	d.calls++
	return true
}

// leave says that a call that entered has been answered.
func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls--
	d.check()
}

// begin says that the server is to stop as soon as no call is inside.
func (d *drain) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ending = true
	d.check()
}

func (d *drain) check() {
	if d.ending && !d.ended && d.calls == 0 {
		d.ended = true
		d.wait.Done()
	}
}
