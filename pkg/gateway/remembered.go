package gateway

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// ages say how an answer of another service is used, by how long ago it was asked for.
type ages struct {
	// fresh is until when it is used as it is, and limit until when it is used while it is asked for anew beside. After that
	// the call waits for a new one.
	fresh, limit time.Duration
	// grace is how much longer it is used when there is no new one.
	grace time.Duration
}

// forever is a grace without an end.
const forever = time.Duration(math.MaxInt64 / 2)

const (
	// patience is how long an answer is waited for.
	patience = 2 * time.Second
	// pause is the time between two questions at least, of which the first had no answer.
	pause = 200 * time.Millisecond
)

// remembered is what another service has answered, or will. The zero value knows nothing. It is safe for concurrent use.
type remembered[T any] struct {
	last atomic.Pointer[answer[T]]
	// failed is when there was no answer last; nil is never.
	failed atomic.Pointer[time.Time]

	mu    sync.Mutex
	asked *question[T] // that waits for its answer
}

// answer is what was answered to a question.
type answer[T any] struct {
	value T
	asked time.Time // before the question
}

// question is one that all who want to know wait for.
type question[T any] struct {
	answered chan struct{}
	value    T
	err      error
}

// asker asks a question, and has patience to do so.
type asker[T any] func(ctx context.Context) (T, error)

// get returns an answer that is young enough. It fails when there is none.
func (r *remembered[T]) get(ctx context.Context, clock func() time.Time, a ages, ask asker[T]) (T, error) {
	known, now := r.last.Load(), clock()
	age := time.Duration(math.MaxInt64)
	if known != nil {
		if age = now.Sub(known.asked); age < 0 { // the clock was set back: nobody knows how old it is
			age = a.limit
		}
	}
	sinceFailed := r.sinceFailed(now)
	switch {
	case age < a.fresh:
		return known.value, nil
	case age < a.limit, age < a.limit+a.grace && sinceFailed < a.limit: // nobody answers: nobody waits, either
		if sinceFailed >= pause {
			r.ask(known, clock, ask)
		}
		return known.value, nil
	}
	value, err := r.wait(ctx, r.ask(known, clock, ask))
	if err != nil && age < a.limit+a.grace {
		return known.value, nil
	}
	return value, err
}

// again asks anew, unless the answer that is known was asked for within the last atMost; false when there is no other.
func (r *remembered[T]) again(ctx context.Context, clock func() time.Time, atMost time.Duration, ask asker[T]) (value T, ok bool) {
	known, now := r.last.Load(), clock()
	if known != nil && now.Sub(known.asked) < atMost && !now.Before(known.asked) || r.sinceFailed(now) < atMost {
		return value, false
	}
	value, err := r.wait(ctx, r.ask(known, clock, ask))
	return value, err == nil
}

// forget forgets an answer that has turned out to be wrong, unless there is another one by now, or it was asked for within the
// last atMost.
func (r *remembered[T]) forget(clock func() time.Time, atMost time.Duration, isWrong func(T) bool) {
	known := r.last.Load()
	if known == nil || !isWrong(known.value) {
		return
	}
	if age := clock().Sub(known.asked); age < 0 || age >= atMost {
		r.last.CompareAndSwap(known, nil)
	}
}

// sinceFailed is how long ago there was no answer last: long ago, too, when that is still to come by a clock that was set back.
func (r *remembered[T]) sinceFailed(now time.Time) time.Duration {
	failed := r.failed.Load()
	if failed == nil || now.Before(*failed) {
		return math.MaxInt64
	}
	return now.Sub(*failed)
}

// wait waits for the answer to a question.
func (r *remembered[T]) wait(ctx context.Context, q *question[T]) (T, error) {
	select {
	case <-q.answered:
		return q.value, q.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// ask asks, unless somebody has since the answer that is known, and waits or has the next one.
func (r *remembered[T]) ask(known *answer[T], clock func() time.Time, ask asker[T]) *question[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked != nil {
		return r.asked
	}
	q := &question[T]{answered: make(chan struct{})}
	if next := r.last.Load(); next != known && next != nil { // nil is forgotten
		q.value = next.value
		close(q.answered)
		return q
	}
	r.asked = q
	go func() {
		// Not within the call that wants to know: others wait as well, and its header is none of this question's.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		begin := clock()
		q.value, q.err = ask(ctx)
		if q.err == nil {
			r.last.Store(&answer[T]{value: q.value, asked: begin})
			r.failed.Store(nil)
		} else {
			now := clock()
			r.failed.Store(&now)
		}
		r.mu.Lock()
		r.asked = nil
		r.mu.Unlock()
		close(q.answered)
	}()
	return q
}
