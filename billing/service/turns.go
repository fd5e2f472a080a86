package service

import (
	"context"
	"sync"
)

// turns lets one goroutine at a time see to a customer: others would only ask the payment provider the same at the same
// time. Other processes are kept out by the operations in the database.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when it is over
}

// take waits for the turn of a customer. The turn ends with release.
func (t *turns) take(ctx context.Context, customerID string) (release func(), err error) {
	for {
		t.mu.Lock()
		over, ok := t.busy[customerID]
		if !ok {
			over = make(chan struct{})
			if t.busy == nil {
				t.busy = make(map[string]chan struct{})
			}
			t.busy[customerID] = over
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, customerID)
				t.mu.Unlock()
				close(over)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
