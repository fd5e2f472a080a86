package database

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	// lookupsAtOnce is how many queries of a Lookup are under way before callers wait for one to end: two, so that this process has
	// something to do while the database has.
	lookupsAtOnce = 2
	// lookupMost is how many keys a query of a Lookup asks for at most.
	lookupMost = 64
	// lookupPatience is how long a query may take that several wait for.
	lookupPatience = 5 * time.Second
)

// lookupSizes are the numbers of keys that are asked for.
var lookupSizes = []int{1, 4, 16, lookupMost}

// Lookup finds one thing for each of many callers with few queries. Those who come at the same time, or while two queries are
// under way, are asked for together by the next one, when one of those is over or as soon as there are 64. Nothing is remembered: what is found
// was committed when it was looked for, or later, so that whoever has changed it sees the change. It may be used by many goroutines
// at once.
type Lookup[K comparable, V any] struct {
	ask func(ctx context.Context, keys []K) (map[K]V, error)

	mu      sync.Mutex
	running int           // queries
	waiting *lookup[K, V] // the next one, if somebody waits for it
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
func NewLookup[K comparable, V any](db *DB, ask func(ctx context.Context, q Reader, keys []K) (map[K]V, error)) *Lookup[K, V] {
	return &Lookup[K, V]{ask: func(ctx context.Context, keys []K) (map[K]V, error) {
		if db.dialect == SQLite {
			// Its driver makes a goroutine for each row of a query that can be cancelled, and this one is over in no time.
			return ask(context.WithoutCancel(ctx), db.Read(), keys)
		}
		ctx, cancel := context.WithTimeout(ctx, lookupPatience)
		defer cancel()
		return ask(ctx, db.Read(), keys)
	}}
}

// Get finds what there is for a key; false when there is nothing. An error is that of the query, or of the context.
func (l *Lookup[K, V]) Get(ctx context.Context, key K) (V, bool, error) {
	q := l.join(key)
	select {
	case <-q.done:
		v, ok := q.found[key]
		return v, ok, q.err
	case <-ctx.Done():
		var none V
		return none, false, ctx.Err()
	}
}

// join adds a key to the next query, and sees to it that there is one.
func (l *Lookup[K, V]) join(key K) *lookup[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = &lookup[K, V]{done: make(chan struct{})}
	}
	q := l.waiting
	q.keys = append(q.keys, key)
	switch {
	case len(q.keys) == lookupMost:
		l.waiting = nil
		l.running++
		go l.run(q)
	case l.running < lookupsAtOnce:
		l.running++
		go l.run(nil)
	}
	return q
}

// run asks a query, if there is one, and then what waits.
func (l *Lookup[K, V]) run(q *lookup[K, V]) {
	for {
		if q == nil {
			runtime.Gosched() // so that those who are about to come are there
			if q = l.take(); q == nil {
				return
			}
		}
		// Not within the call of one of them: the others wait as well.
		q.found, q.err = l.ask(context.Background(), padded(q.keys))
		close(q.done)
		q = nil
	}
}

// take returns the query that is waited for; when there is none, one less is running.
func (l *Lookup[K, V]) take() *lookup[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.waiting
	l.waiting = nil
	if q == nil {
		l.running--
	}
	return q
}

// padded has the last key so often that there is one of few numbers of them, for each of which there is a statement.
func padded[K any](keys []K) []K {
	for _, size := range lookupSizes {
		if len(keys) <= size {
			for len(keys) < size {
				keys = append(keys, keys[len(keys)-1])
			}
			break
		}
	}
	return keys
}
