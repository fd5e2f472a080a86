// Package sink stands in for Mixpanel on one machine: it takes events as POST /import does, and shows what it has. It is for
// trying out and for tests; whoever reaches its port may send and read, so that it listens on loopback only.
//
// # What it guarantees
//
// What was answered with 200 is in a file, and survives a kill -9 of the process (not a power cut). An event is kept once for
// each $insert_id, the first one that came. Of Mixpanel's checks it makes those that a sender can break: the size of a batch,
// a name, a time, and ids of the right form; the others of a batch are taken when some are refused, as there.
//
// # Bounds
//
// It keeps the newest million events, and a hundred thousand more before the oldest are dropped. One that is sent again after
// that is new to it. An event takes its own length on the disk and some 100 bytes of memory.
package sink

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unique"
)

const (
	// keep is how many events are kept at least, once there have been so many; segmentSize how many a file has.
	keep        = 1_000_000
	segmentSize = 100_000
	// prefix and suffix are what the names of files have around their numbers.
	prefix, suffix = "events-", ".jsonl"
)

// Config says how a sink is made.
type Config struct {
	// Dir is where it keeps the events. It is made if there is none; one sink uses it at a time.
	Dir string
	// Keep is how many events are kept at least, SegmentSize how many are dropped at once; a million and a hundred thousand when 0.
	Keep, SegmentSize int
}

// Event is an event as Mixpanel takes it.
type Event struct {
	Name       string         `json:"event"`
	Properties map[string]any `json:"properties"`
}

// Sink keeps events. It may be used by many goroutines at once.
type Sink struct {
	config Config
	seed   maphash.Seed

	mu         sync.RWMutex
	segments   []*segment
	ids        map[key]struct{} // $insert_ids of all that is kept
	names      map[string]int   // how many events of each name
	duplicates int              // since the start
}

// segment is a file of events, a line each.
type segment struct {
	number int
	file   *os.File
	size   int64
	events []place
}

// place is where an event is in its file, and what it is looked for by.
type place struct {
	offset int64
	length int32
	name   string
	who    uint64 // hash of distinct_id
	id     key
}

// key stands for an $insert_id, and takes less room than a text.
type key [16]byte

func keyOf(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}

// Open opens the sink that keeps its events in a directory.
func Open(cfg Config) (*Sink, error) {
	if cfg.Dir == "" {
		return nil, errors.New("sink: a directory is missing")
	}
	if cfg.Keep == 0 {
		cfg.Keep = keep
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = segmentSize
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the sink's directory: %w", err)
	}
	s := &Sink{config: cfg, seed: maphash.MakeSeed(), ids: make(map[key]struct{}), names: make(map[string]int)}
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if err := s.load(n); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close closes the files. What was added is in them.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, seg := range s.segments {
		err = errors.Join(err, seg.file.Close())
	}
	s.segments = nil
	return err
}

// numbers are those of the files that there are, in their order.
func (s *Sink) numbers() ([]int, error) {
	entries, err := os.ReadDir(s.config.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the sink's directory: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if n, err := strconv.Atoi(strings.TrimSuffix(name, suffix)); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (s *Sink) open(number int) (*segment, error) {
	file, err := os.OpenFile(filepath.Join(s.config.Dir, fmt.Sprintf("%s%08d%s", prefix, number, suffix)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a file of the sink: %w", err)
	}
	return &segment{number: number, file: file}, nil
}

// load reads a file. What was being written when the process died has no end of a line, and was not answered: it is cut off.
func (s *Sink) load(number int) error {
	seg, err := s.open(number)
	if err != nil {
		return err
	}
	s.segments = append(s.segments, seg)
	r := bufio.NewReaderSize(seg.file, 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read a file of the sink: %w", err)
		}
		var e struct { // no more than what is looked for: there may be a million
			Name       string `json:"event"`
			Properties struct {
				ID  string `json:"$insert_id"`
				Who string `json:"distinct_id"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s is damaged: remove it to go on without", seg.file.Name())
		}
		s.enter(seg, e.Name, keyOf(e.Properties.ID), e.Properties.Who, len(line))
	}
	return seg.file.Truncate(seg.size)
}

// enter remembers an event that is at the end of a file.
func (s *Sink) enter(seg *segment, name string, id key, who string, length int) {
	name = unique.Make(name).Value() // one text for all events of the name
	seg.events = append(seg.events, place{
		offset: seg.size, length: int32(length), name: name, who: maphash.String(s.seed, who), id: id,
	})
	seg.size += int64(length)
	s.ids[id] = struct{}{}
	s.names[name]++
}

func text(properties map[string]any, key string) string {
	value, _ := properties[key].(string)
	return value
}

// Add keeps those events of valid ones that it has not yet, all or none of them, and returns how many these were.
func (s *Sink) Add(events []Event) (added int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg, err := s.last()
	if err != nil {
		return 0, err
	}
	var lines bytes.Buffer
	fresh := make([]Event, 0, len(events))
	lengths := make([]int, 0, len(events))
	seen := make(map[key]struct{}, len(events))
	for _, e := range events {
		id := keyOf(text(e.Properties, "$insert_id"))
		_, before := s.ids[id]
		_, twice := seen[id]
		if before || twice {
			s.duplicates++
			continue
		}
		seen[id] = struct{}{}
		line, err := json.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("encode an event: %w", err)
		}
		lines.Write(append(line, '\n'))
		fresh, lengths = append(fresh, e), append(lengths, len(line)+1)
	}
	if _, err := seg.file.WriteAt(lines.Bytes(), seg.size); err != nil {
		return 0, errors.Join(fmt.Errorf("write a file of the sink: %w", err), seg.file.Truncate(seg.size))
	}
	for i, e := range fresh {
		s.enter(seg, e.Name, keyOf(text(e.Properties, "$insert_id")), text(e.Properties, "distinct_id"), lengths[i])
	}
	return len(fresh), nil
}

// last returns the file that has room for more, and drops the oldest when there are enough without.
func (s *Sink) last() (*segment, error) {
	if n := len(s.segments); n > 0 && len(s.segments[n-1].events) < s.config.SegmentSize {
		return s.segments[n-1], nil
	}
	number := 1
	if n := len(s.segments); n > 0 {
		number = s.segments[n-1].number + 1
	}
	seg, err := s.open(number)
	if err != nil {
		return nil, err
	}
	s.segments = append(s.segments, seg)
	total := 0
	for _, other := range s.segments {
		total += len(other.events)
	}
	for len(s.segments) > 1 && total-len(s.segments[0].events) >= s.config.Keep {
		oldest := s.segments[0]
		if err := errors.Join(os.Remove(oldest.file.Name()), oldest.file.Close()); err != nil {
			return nil, fmt.Errorf("drop the oldest events: %w", err)
		}
		for _, p := range oldest.events {
			delete(s.ids, p.id)
			if s.names[p.name]--; s.names[p.name] == 0 {
				delete(s.names, p.name)
			}
		}
		total -= len(oldest.events)
		s.segments = s.segments[1:]
	}
	return seg, nil
}

// Query says which events are wanted. What is empty does not matter.
type Query struct {
	// Name and DistinctID are those of the events.
	Name, DistinctID string
	// Limit is how many are wanted at most.
	Limit int
}

// Events returns events as they were sent, the newest first.
func (s *Sink) Events(q Query) ([]json.RawMessage, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := []json.RawMessage{}
	who := maphash.String(s.seed, q.DistinctID)
	for i := len(s.segments) - 1; i >= 0; i-- {
		seg := s.segments[i]
		for j := len(seg.events) - 1; j >= 0 && len(found) < q.Limit; j-- {
			p := seg.events[j]
			if q.Name != "" && q.Name != p.name || q.DistinctID != "" && who != p.who {
				continue
			}
			line := make([]byte, p.length-1)
			if _, err := seg.file.ReadAt(line, p.offset); err != nil {
				return nil, fmt.Errorf("read a file of the sink: %w", err)
			}
			found = append(found, line)
		}
	}
	return found, nil
}

// Counts is how much there is.
type Counts struct {
	// Events is how many events are kept, Names how many of each name.
	Events int            `json:"events"`
	Names  map[string]int `json:"names"`
	// Duplicates is how many events were sent again since the sink was started.
	Duplicates int `json:"duplicates"`
}

// Counts returns how much there is.
func (s *Sink) Counts() Counts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := Counts{Events: len(s.ids), Names: make(map[string]int, len(s.names)), Duplicates: s.duplicates}
	for name, n := range s.names {
		c.Names[name] = n
	}
	return c
}
