package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// GCPercent is how much the heap of a service grows before garbage is collected, as long as that makes it no larger than
	// smallHeap, unless GOGC or GOMEMLIMIT says something else. The heap of a service is a few MiB, of which Go would
	// collect many times a second: with this it takes some ten MiB more, and a fifth less time for a call.
	GCPercent = 400
	// smallHeap is up to where memory is worth less than time. A heap of which more is in use grows as Go would have it.
	smallHeap = 64 << 20
	// defaultPercent is Go's own.
	defaultPercent = 100
)

const liveBytes = "/gc/heap/live:bytes"

// percentFor is how much a heap may grow of which so much is in use.
func percentFor(live uint64) int {
	if live == 0 {
		return GCPercent
	}
	return int(max(defaultPercent, min(GCPercent, (int64(smallHeap)-int64(live))*100/int64(live))))
}

// tuneGC has the collector follow percentFor from now on, for good: it looks again after each collection.
var tuneGC = sync.OnceFunc(func() {
	debug.SetGCPercent(GCPercent)
	sample := []metrics.Sample{{Name: liveBytes}}
	current := GCPercent
	var again func(*sentinel)
	again = func(*sentinel) {
		metrics.Read(sample)
		// Setting it stops the world for a moment, which small changes are not worth.
		if p := percentFor(sample[0].Value.Uint64()); p*10 > current*11 || p*11 < current*10 {
			debug.SetGCPercent(p)
			current = p
		}
		runtime.SetFinalizer(&sentinel{}, again)
	}
	again(nil)
})

// sentinel is what nobody uses, so that the next collection finds it.
type sentinel struct{ _ [16]byte }
