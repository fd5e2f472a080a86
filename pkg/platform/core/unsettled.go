package core

import (
	"net/http"
	"sync"
	"time"

	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/events"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// unsettledFor is for how many times its AckWait it is remembered what an event's id stands for.
const unsettledFor = 2

var (
	errNoWrite     = merrors.New("", "an event gets into the store by being published", http.StatusNotImplemented)
	invalidAckWait = kinds.Invalid("ack_wait", "expected nanoseconds from 1 to %d, or auto_ack", int64(stream.MaxAckWait))
)

// unsettled is what was sent to a caller that names events by their ids when it says what has become of them.
type unsettled struct {
	keep time.Duration

	mu    sync.Mutex
	byID  map[string]events.Event
	order []sent
}

type sent struct {
	id string
	at time.Time
}

func newUnsettled(keep time.Duration) *unsettled {
	return &unsettled{keep: keep, byID: make(map[string]events.Event)}
}

// add remembers an event, and forgets those that are delivered again anyhow.
func (u *unsettled) add(e events.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for len(u.order) > 0 && now.Sub(u.order[0].at) > u.keep {
		if old := u.order[0].id; !u.repeated(old) {
			delete(u.byID, old)
		}
		u.order = u.order[1:]
	}
	e.Payload, e.Metadata = nil, nil // nobody needs them any more
	u.byID[e.ID] = e
	u.order = append(u.order, sent{e.ID, now})
}

// repeated tells whether an event was sent again since.
func (u *unsettled) repeated(id string) bool {
	for _, s := range u.order[1:] {
		if s.id == id {
			return true
		}
	}
	return false
}

// settle acknowledges an event, or has it delivered again.
func (u *unsettled) settle(id string, success bool) error {
	u.mu.Lock()
	e, ok := u.byID[id]
	delete(u.byID, id)
	u.mu.Unlock()
	switch {
	case !ok:
		return nil
	case success:
		return e.Ack()
	default:
		return e.Nack()
	}
}
