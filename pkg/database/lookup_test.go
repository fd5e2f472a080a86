package database_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

var errBoom = errors.New("boom")

// bad is what nobody can ask for.
const bad = 666

// gate is a function for a Lookup that answers when it is let.
type gate struct {
	asked chan []int    // what is asked for, before the answer
	open  chan struct{} // one for each answer
}

func newGate() *gate { return &gate{make(chan []int), make(chan struct{})} }

// ask knows the squares of even numbers.
func (g *gate) ask(_ context.Context, _ database.Reader, keys []int) (map[int]int, error) {
	g.asked <- slices.Clone(keys)
	<-g.open
	if slices.Contains(keys, bad) {
		return nil, errBoom
	}
	found := make(map[int]int)
	for _, key := range keys {
		if key%2 == 0 {
			found[key] = key * key
		}
	}
	return found, nil
}

// fill has as many queries be under way as others wait for.
func (g *gate) fill(t *testing.T, wg *sync.WaitGroup, l *database.Lookup[int, int]) {
	t.Helper()
	for range 2 {
		wg.Go(func() {
			v, ok, err := l.Get(context.Background(), 2)
			assert.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, 4, v)
		})
		require.Equal(t, []int{2}, <-g.asked, "the first are asked for at once, and alone")
	}
}

// serve answers until everybody has an answer, and returns what was asked for.
func (g *gate) serve(t *testing.T, wg *sync.WaitGroup) map[int]bool {
	t.Helper()
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	seen := make(map[int]bool)
	for going := true; going; {
		select {
		case keys := <-g.asked:
			require.Contains(t, []int{1, 4, 16, 64}, len(keys))
			for _, key := range keys {
				seen[key] = true
			}
		case g.open <- struct{}{}:
		case <-ended:
			going = false
		}
	}
	return seen
}

func TestLookup(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := database.NewLookup(databasetest.Open(t, "bench", first), g.ask)
	var wg sync.WaitGroup
	g.fill(t, &wg, l)
	const callers = 70
	for i := range callers {
		wg.Go(func() {
			v, ok, err := l.Get(context.Background(), i)
			assert.NoError(t, err)
			assert.Equal(t, i%2 == 0, ok)
			if ok {
				assert.Equal(t, i*i, v)
			}
		})
	}
	seen := g.serve(t, &wg)
	require.Len(t, seen, callers)

	wg.Go(func() { _, _, _ = l.Get(context.Background(), 1) })
	require.Equal(t, []int{1}, <-g.asked, "whoever comes later is the first again")
	g.open <- struct{}{}
	wg.Wait()
}

// Sixty-four do not wait for anybody.
func TestFullLookup(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := database.NewLookup(databasetest.Open(t, "bench", first), g.ask)
	var wg sync.WaitGroup
	g.fill(t, &wg, l)
	for i := range 64 {
		wg.Go(func() {
			_, _, err := l.Get(context.Background(), i)
			assert.NoError(t, err)
		})
	}
	require.Len(t, <-g.asked, 64, "the first one's answer is still to come")
	for range 3 {
		g.open <- struct{}{}
	}
	wg.Wait()
}

// A query that fails does for those who wait for it, and for nobody else.
func TestFailedLookup(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := database.NewLookup(databasetest.Open(t, "bench", first), g.ask)
	var wg sync.WaitGroup
	g.fill(t, &wg, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := l.Get(ctx, 4)
	require.ErrorIs(t, err, context.Canceled, "it does not wait")
	wg.Go(func() {
		_, _, err := l.Get(context.Background(), bad)
		assert.ErrorIs(t, err, errBoom)
	})
	g.serve(t, &wg)
}

// Who has changed something sees the change, however many look it up.
func TestLookupIsNoOlderThanItsQuestion(t *testing.T) {
	t.Parallel()
	var value atomic.Int64
	l := database.NewLookup(databasetest.Open(t, "bench", first), func(_ context.Context, _ database.Reader, keys []int) (map[int]int64, error) {
		v := value.Load()
		time.Sleep(50 * time.Microsecond) //nolint:forbidigo // a lookup takes its time: long enough for others to come
		return map[int]int64{keys[0]: v}, nil
	})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				least := value.Add(1)
				got, ok, err := l.Get(context.Background(), 1)
				assert.NoError(t, err)
				assert.True(t, ok)
				assert.GreaterOrEqual(t, got, least)
			}
		})
	}
	wg.Wait()
}
