package database

import (
	"context"
	"sync"
	"time"
)

const (
	// lookupsAtOnce is how many queries of a Lookup are under way at once, and lookupMost how many keys each asks for at most.
	lookupsAtOnce = 2
	lookupMost    = 64
	// lookupPatience is how long a query may take that several wait for.
	lookupPatience = 10 * time.Second
)

// lookupSizes are the numbers of keys that are asked for, so that there are few statements: what is left is the last key again.
var lookupSizes = []int{1, 4, 16, lookupMost}

// Lookup finds one thing for each of many callers with few queries. Who comes first is asked for at once; those who come while
// queries are under way are asked for together by the next one. Nothing is remembered: what is found was committed when it was
// looked for, or later, so that whoever has changed it sees the change. It may be used by many goroutines at once.
type Lookup[K comparable, V any] struct {
	ask func(ctx context.Context, keys []K) (map[K]V, error)

	mu      sync.Mutex
	running int
	waiting []*lookup[K, V] // all but the last one are full
}

// lookup is one query.
type lookup[K comparable, V any] struct {
	keys  []K
	found map[K]V
	err   error
	done  chan struct{}
}

// NewLookup returns a lookup by a function that finds what there is for 1, 4, 16 or 64 keys, outside of a transaction. A key may be
// among them several times.
func NewLookup[K comparable, V any](ask func(ctx context.Context, keys []K) (map[K]V, error)) *Lookup[K, V] {
	return &Lookup[K, V]{ask: ask}
}

// Get finds what there is for a key; false when there is nothing. An error is that of the query, or of the context.
func (l *Lookup[K, V]) Get(ctx context.Context, key K) (V, bool, error) {
	q, isFirst := l.join(key)
	if isFirst {
		defer l.next()
		l.run(ctx, q)
	}
	select {
	case <-q.done:
		v, ok := q.found[key]
		return v, ok, q.err
	case <-ctx.Done():
		var none V
		return none, false, ctx.Err()
	}
}

// join adds a key to the next query, or begins one for it alone that its caller has to run.
func (l *Lookup[K, V]) join(key K) (q *lookup[K, V], isFirst bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running < lookupsAtOnce { // so nobody waits
		l.running++
		return &lookup[K, V]{keys: []K{key}, done: make(chan struct{})}, true
	}
	if n := len(l.waiting); n > 0 && len(l.waiting[n-1].keys) < lookupMost {
		q = l.waiting[n-1]
	} else {
		q = &lookup[K, V]{done: make(chan struct{})}
		l.waiting = append(l.waiting, q)
	}
	q.keys = append(q.keys, key)
	return q, false
}

// run asks a query.
func (l *Lookup[K, V]) run(ctx context.Context, q *lookup[K, V]) {
	defer close(q.done)
	for _, size := range lookupSizes {
		if len(q.keys) <= size {
			for len(q.keys) < size {
				q.keys = append(q.keys, q.keys[len(q.keys)-1])
			}
			break
		}
	}
	q.found, q.err = l.ask(ctx, q.keys)
}

// next runs what waits, beside the caller that has waited for its own.
func (l *Lookup[K, V]) next() {
	if q := l.take(); q != nil {
		go func() {
			for ; q != nil; q = l.take() {
				// Not within the call of one of them: the others wait as well.
				ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
				l.run(ctx, q)
				cancel()
			}
		}()
	}
}

// take returns the query that has waited longest, if there is one; else one less is running.
func (l *Lookup[K, V]) take() *lookup[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.running--
		return nil
	}
	q := l.waiting[0]
	l.waiting = l.waiting[1:]
	return q
}
