package service

import (
	"sync"
	"sync/atomic"
)

// drain counts the calls that are being worked on, so that a server that stops answers them before it goes.
//
// Micro waits for a sync.WaitGroup, to which it adds calls itself. Adding to a group that has just become empty while
// somebody waits for it is a misuse that panics; so the group is held by us until no call is inside, and calls that come
// later are refused before Micro sees them.
type drain struct {
	wait sync.WaitGroup
	// state is how many calls are inside, with the two flags.
	state atomic.Int64
}

const (
	ended  = 1 << 62
	ending = 1 << 61
)

func newDrain() *drain {
	d := new(drain)
	d.wait.Add(1)
	return d
}

// held is the group for Micro to wait for.
func (d *drain) held() *sync.WaitGroup { return &d.wait }

// enter says that a call has come; false that it came too late.
func (d *drain) enter() bool {
	if d.state.Add(1)&ended != 0 {
		d.state.Add(-1)
		return false
	}
	return true
}

// leave says that a call that entered has been answered.
func (d *drain) leave() {
	if d.state.Add(-1) == ending {
		d.end()
	}
}

// begin says that the server is to stop as soon as no call is inside.
func (d *drain) begin() {
	if d.state.Or(ending) == 0 {
		d.end()
	}
}

// end closes the door, unless a call has come in at this moment: then it is up to that one.
func (d *drain) end() {
	if d.state.CompareAndSwap(ending, ending|ended) {
		d.wait.Done()
	}
}
