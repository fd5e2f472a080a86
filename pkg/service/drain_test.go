package service

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	d := newDrain()
	assert.True(t, d.enter())
	d.begin()
	assert.True(t, d.enter(), "somebody is inside: the door is still open")
	d.leave()
	d.leave()
	d.held().Wait()
	assert.False(t, d.enter(), "nobody is: it is closed")
	d.begin()
}

func TestDrainOfNothing(t *testing.T) {
	t.Parallel()
	d := newDrain()
	d.begin()
	d.held().Wait()
	assert.False(t, d.enter())
}

// As Micro does it: each call adds itself to the group, and somebody waits for it.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	for range 200 {
		d := newDrain()
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for d.enter() {
					d.held().Add(1)
					d.held().Done()
					d.leave()
				}
			})
		}
		d.begin()
		d.held().Wait()
		callers.Wait()
	}
}
