package service

import (
	"sync"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/events"
)

// maxVerdicts is how many verdicts are remembered: those of the largest batches of several topics.
const maxVerdicts = 20_000

// verdicts are what Mixpanel has said of events of batches that it has refused in part. It may be forgotten at any time: the
// events are sent again then, and count once there.
type verdicts struct {
	mu sync.Mutex
	of map[uuid.UUID]string // the field that is wrong, empty if the event was taken
}

func (v *verdicts) set(id uuid.UUID, field string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil || len(v.of) >= maxVerdicts {
		v.of = make(map[uuid.UUID]string)
	}
	v.of[id] = field
}

// refused returns the field of an event that was refused; empty if it was not, as far as is remembered.
func (v *verdicts) refused(id uuid.UUID) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.of[id]
}

// accepted tells whether it is remembered that an event was taken.
func (v *verdicts) accepted(id uuid.UUID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	field, ok := v.of[id]
	return ok && field == ""
}

func (v *verdicts) forget(batch []*events.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range batch {
		delete(v.of, e.ID)
	}
}
