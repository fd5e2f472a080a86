package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/internal/casetest"
)

// BlobCases are those for blob stores.
func BlobCases() []Case[store.BlobStore] {
	return []Case[store.BlobStore]{
		{Name: "streams in little memory", Run: streams, alone: true},
		{Name: "reads what was written", Run: readsBlobs},
		{Name: "takes an empty blob", Run: emptyBlob},
		{Name: "says what it does not find", Run: blobNotFound},
		{Name: "asks for a key", Run: asksForKey},
		{Name: "overwrites a blob", Run: overwritesBlob},
		{Name: "deletes a blob, or none", Run: deletesBlob},
		{Name: "keeps namespaces apart", Run: namespaces},
		{Name: "lists keys by prefix", Run: listsBlobs},
		{Name: "lists nothing without an error", Run: listsNothing},
		{Name: "never mixes two blobs while one is replaced", Run: neverMixes},
		{Name: "keeps a blob when its successor fails", Run: keepsOld},
		{Name: "takes writers of the same blob", Run: blobWriters},
	}
}

// space is a namespace that nobody else has.
type space struct {
	store.BlobStore
	namespace string
}

func newSpace(b store.BlobStore) space { return space{b, "n" + newName()} }

func (s space) write(key string, blob io.Reader) error {
	return s.Write(key, blob, store.BlobNamespace(s.namespace))
}

func (s space) read(key string) ([]byte, error) {
	r, err := s.Read(key, store.BlobNamespace(s.namespace))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (s space) has(key string, want []byte) error {
	got, err := s.read(key)
	if err != nil {
		return fmt.Errorf("read %q: %w", key, err)
	}
	return casetest.Expect(bytes.Equal(got, want), "read %q: another blob of %d bytes: expected %d", key, len(got), len(want))
}

func (s space) lacks(key string) error {
	_, err := s.Read(key, store.BlobNamespace(s.namespace))
	return casetest.Expect(err == store.ErrNotFound, "read %q: error %v", key, err) //nolint:errorlint // Micro compares so
}

func (s space) lists(prefix string, want ...string) error {
	keys, err := s.List(store.BlobListNamespace(s.namespace), store.BlobListPrefix(prefix))
	if err != nil {
		return fmt.Errorf("list %q: %w", prefix, err)
	}
	slices.Sort(keys)
	return casetest.Expect(slices.Equal(keys, want), "list %q: %q: expected %q", prefix, keys, want)
}

func streams(_ context.Context, b store.BlobStore) error {
	const size, most = 64 << 20, 24 << 20
	s := newSpace(b)
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before, peak := heap(), 0
	look := func(at int) {
		if at%(8<<20) == 0 {
			peak = max(peak, heap()-before)
		}
	}
	if err := s.write("large", &numbers{size: size, each: look}); err != nil {
		return err
	}
	r, err := s.Read("large", store.BlobNamespace(s.namespace))
	if err != nil {
		return err
	}
	if err := sameBytes(r, &numbers{size: size, each: look}); err != nil {
		return err
	}
	return casetest.Expect(peak < most, "it takes %d MiB of memory", peak>>20)
}

func readsBlobs(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	for _, size := range []int{1, 1023, 1024, 1025, 100_000, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		key, blob := fmt.Sprintf("ä/%d %%", size), newBlob(byte(size), size)
		if err := s.Write(key, bytes.NewReader(blob), store.BlobNamespace(s.namespace), store.BlobPublic(true), store.BlobContentType("text/plain")); err != nil {
			return err
		}
		if err := s.has(key, blob); err != nil {
			return err
		}
	}
	return nil
}

func emptyBlob(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	return first(
		func() error { return s.write("a", bytes.NewReader(nil)) },
		func() error { return s.has("a", nil) },
	)
}

func blobNotFound(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	return first(
		func() error { return s.lacks("a") },
		func() error { return s.write("a", bytes.NewReader([]byte("a"))) },
		func() error { return s.lacks("b") },
		func() error { return s.lacks("aa") },
	)
}

func asksForKey(_ context.Context, b store.BlobStore) error {
	_, err := b.Read("")
	return errors.Join(
		casetest.Expect(errors.Is(err, store.ErrMissingKey), "read: error %v", err),
		casetest.Expect(errors.Is(b.Write("", bytes.NewReader([]byte("a"))), store.ErrMissingKey), "write: another error"),
		casetest.Expect(errors.Is(b.Delete(""), store.ErrMissingKey), "delete: another error"),
	)
}

func overwritesBlob(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	for i, size := range []int{5, 3 << 20, 2 << 20, 1} {
		blob := newBlob(byte(i), size)
		if err := first(
			func() error { return s.write("a", bytes.NewReader(blob)) },
			func() error { return s.has("a", blob) },
		); err != nil {
			return err
		}
	}
	return nil
}

func deletesBlob(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	remove := func() error { return s.Delete("a", store.BlobNamespace(s.namespace)) }
	return first(
		remove,
		func() error { return s.write("a", bytes.NewReader([]byte("a"))) },
		func() error { return s.write("b", bytes.NewReader([]byte("b"))) },
		remove,
		func() error { return s.lacks("a") },
		remove,
		func() error { return s.has("b", []byte("b")) },
		func() error { return s.write("a", bytes.NewReader([]byte("other"))) },
		func() error { return s.has("a", []byte("other")) },
	)
}

func namespaces(_ context.Context, b store.BlobStore) error {
	one, other := newSpace(b), newSpace(b)
	key := newName()
	return first(
		func() error { return one.write(key, bytes.NewReader([]byte("one"))) },
		func() error { return other.lacks(key) },
		func() error { return other.write(key, bytes.NewReader([]byte("other"))) },
		func() error { return one.has(key, []byte("one")) },
		func() error { return other.has(key, []byte("other")) },
		func() error { return b.Write(key, bytes.NewReader([]byte("default"))) },
		func() error { return space{b, "micro"}.has(key, []byte("default")) },
		func() error { return b.Delete(key) },
	)
}

func listsBlobs(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	for _, key := range []string{"a", "a/1", "a/2", "a%3", "b"} {
		if err := s.write(key, bytes.NewReader([]byte("x"))); err != nil {
			return err
		}
	}
	return first(
		func() error { return s.lists("", "a", "a%3", "a/1", "a/2", "b") },
		func() error { return s.lists("a/", "a/1", "a/2") },
		func() error { return s.lists("a%", "a%3") },
		func() error { return s.lists("b", "b") },
		func() error { return s.write("b", bytes.NewReader([]byte("y"))) },
		func() error { return s.lists("b", "b") },
		func() error { return s.Delete("b", store.BlobNamespace(s.namespace)) },
		func() error { return s.lists("b") },
	)
}

func listsNothing(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	return first(
		func() error { return s.lists("") },
		func() error { return s.write("a", bytes.NewReader([]byte("a"))) },
		func() error { return s.lists("b") },
	)
}

func neverMixes(_ context.Context, b store.BlobStore) error {
	const size = 5<<20 + 7
	s := newSpace(b)
	if err := s.write("a", &numbers{seed: 1, size: size}); err != nil {
		return err
	}
	r, err := s.Read("a", store.BlobNamespace(s.namespace))
	if err != nil {
		return err
	}
	begun := make([]byte, 1000)
	if _, err := io.ReadFull(r, begun); err != nil {
		return err
	}
	if err := s.write("a", &numbers{seed: 2, size: size}); err != nil {
		return err
	}
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(begun, rest...), newBlob(1, size)) {
		return errors.New("the rest is of another blob")
	}
	return s.has("a", newBlob(2, size))
}

var errBroken = errors.New("broken")

func keepsOld(_ context.Context, b store.BlobStore) error {
	s := newSpace(b)
	old := newBlob(1, 2<<20)
	if err := s.write("a", bytes.NewReader(old)); err != nil {
		return err
	}
	breaks := io.MultiReader(&numbers{seed: 2, size: 3 << 20}, readerFunc(func([]byte) (int, error) { return 0, errBroken }))
	if err := s.write("a", breaks); !errors.Is(err, errBroken) {
		return fmt.Errorf("error %w", err)
	}
	return s.has("a", old)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func blobWriters(_ context.Context, b store.BlobStore) error {
	const writers, size = 8, 2<<20 + 1
	s := newSpace(b)
	err := together(writers, func(i int) error { return s.write("a", &numbers{seed: byte(i), size: size}) })
	if err != nil {
		return err
	}
	got, err := s.read("a")
	if err != nil {
		return err
	}
	for i := range writers {
		if bytes.Equal(got, newBlob(byte(i), size)) {
			return nil
		}
	}
	return errors.New("it is none of those that were written")
}
