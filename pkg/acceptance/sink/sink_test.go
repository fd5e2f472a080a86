package sink_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/sink"
)

func open(t *testing.T, cfg sink.Config) *sink.Sink {
	t.Helper()
	s, err := sink.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func event(name, id string) sink.Event {
	return sink.Event{Name: name, Properties: map[string]any{"$insert_id": id, "distinct_id": "c-" + name, "time": float64(1_700_000_000_000)}}
}

func add(t *testing.T, s *sink.Sink, events ...sink.Event) int {
	t.Helper()
	n, err := s.Add(events)
	require.NoError(t, err)
	return n
}

func found(t *testing.T, s *sink.Sink, q sink.Query) int {
	t.Helper()
	events, err := s.Events(q)
	require.NoError(t, err)
	return len(events)
}

func TestAnEventIsKeptOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, sink.Config{Dir: dir})
	require.Equal(t, 2, add(t, s, event("a", "1"), event("b", "2"), event("a", "1")))
	require.Zero(t, add(t, s, event("b", "2")))
	require.Equal(t, sink.Counts{Events: 2, Names: map[string]int{"a": 1, "b": 1}, Duplicates: 2}, s.Counts())
	require.NoError(t, s.Close())

	again := open(t, sink.Config{Dir: dir})
	require.Zero(t, add(t, again, event("a", "1")), "it is remembered across a restart")
	require.Equal(t, 2, found(t, again, sink.Query{Limit: 10}))
	require.Equal(t, 1, found(t, again, sink.Query{Name: "a", Limit: 10}))
	require.Equal(t, 1, found(t, again, sink.Query{DistinctID: "c-b", Limit: 10}))
	require.Zero(t, found(t, again, sink.Query{Name: "a", DistinctID: "c-b", Limit: 10}))
	require.Equal(t, 1, found(t, again, sink.Query{Limit: 1}))
}

func TestTheOldestAreDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := sink.Config{Dir: dir, Keep: 10, SegmentSize: 5}
	s := open(t, cfg)
	for i := range 33 {
		require.Equal(t, 1, add(t, s, event(fmt.Sprint("n", i), fmt.Sprint(i))))
		n := s.Counts().Events
		require.GreaterOrEqual(t, n, min(i+1, 10))
		require.LessOrEqual(t, n, 15)
		require.Len(t, s.Counts().Names, n)
	}
	newest, err := s.Events(sink.Query{Limit: 1})
	require.NoError(t, err)
	require.Contains(t, string(newest[0]), `"n32"`)
	require.Equal(t, 1, add(t, s, event("n0", "0")), "what was dropped is new again")
	before := s.Counts()
	require.NoError(t, s.Close())
	require.Equal(t, before, open(t, cfg).Counts())
}

func TestWhatWasBeingWrittenIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, sink.Config{Dir: dir})
	add(t, s, event("a", "1"))
	require.NoError(t, s.Close())
	name := filepath.Join(dir, "events-00000001.jsonl")
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"event": "torn", "prop`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	s = open(t, sink.Config{Dir: dir})
	require.Equal(t, 1, add(t, s, event("b", "2")))
	require.Equal(t, 2, found(t, s, sink.Query{Limit: 10}))
	require.NoError(t, s.Close())
	require.Equal(t, map[string]int{"a": 1, "b": 1}, open(t, sink.Config{Dir: dir}).Counts().Names)

	require.NoError(t, os.WriteFile(name, []byte("nonsense\n"), 0o600))
	_, err = sink.Open(sink.Config{Dir: dir})
	require.ErrorContains(t, err, "is damaged: remove it")
	_, err = sink.Open(sink.Config{})
	require.ErrorContains(t, err, "a directory is missing")
}
