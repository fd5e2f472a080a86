package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/service/store"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/runtime"
)

// blobsNamespace is where binaries are in the blob store.
const blobsNamespace = "binaries"

// Blobs keeps binaries in Micro's blob store, so that they are where the pods are that fetch them, whichever node that is. It
// implements runtime.Keeper, and is safe for concurrent use.
type Blobs struct {
	store store.BlobStore
	clock func() time.Time
	// accept returns why a file is no binary that can be run; nil for any that can.
	accept func(file string) error

	mu sync.Mutex
	// unused has since when a binary is not referred to. A process that starts has seen none before.
	unused map[string]time.Time
}

var _ runtime.Keeper = (*Blobs)(nil)

// NewBlobs returns a Blobs that keeps what accept returns nil for; the error is for whoever has uploaded it.
func NewBlobs(blobs store.BlobStore, accept func(file string) error) *Blobs {
	return &Blobs{store: blobs, clock: time.Now, accept: accept, unused: make(map[string]time.Time)}
}

// Write implements runtime.Keeper. What is uploaded is kept on disk first: what its name in the store is shows at its end.
func (b *Blobs) Write(r io.Reader) (source string, err error) {
	draft, source, err := runtime.Draft(os.TempDir(), r)
	if err != nil {
		return "", err
	}
	defer func() {
		if failure := os.Remove(draft); failure != nil { // what was kept is kept
			logger.Warnf("What was uploaded is left in a file: %v", failure)
		}
	}()
	if err := b.accept(draft); err != nil {
		return "", kinds.Invalid("data", "%v", err)
	}
	f, err := os.Open(draft)
	if err != nil {
		return "", fmt.Errorf("keep a binary: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	b.mu.Lock()
	b.unused[runtime.Digest(source)] = b.clock() // its hour begins again if it was there
	b.mu.Unlock()
	if err := b.store.Write(runtime.Digest(source), f, store.BlobNamespace(blobsNamespace)); err != nil {
		return "", fmt.Errorf("keep a binary: %w", err)
	}
	return source, nil
}

// Check implements runtime.Keeper.
func (b *Blobs) Check(source string) error {
	if err := runtime.CheckSource(source); err != nil {
		return err
	}
	found, err := b.list(runtime.Digest(source))
	if err == nil && len(found) == 0 {
		err = runtime.Missing()
	}
	return err
}

// Read returns a binary, which is to be closed if it can be.
func (b *Blobs) Read(source string) (io.Reader, error) {
	r, err := b.store.Read(runtime.Digest(source), store.BlobNamespace(blobsNamespace))
	if errors.Is(err, store.ErrNotFound) {
		return nil, runtime.Missing()
	}
	if err != nil {
		return nil, fmt.Errorf("read a binary: %w", err)
	}
	return r, nil
}

// Retain implements runtime.Keeper. The hour of a binary begins when it was uploaded, or when it was first seen unused.
func (b *Blobs) Retain(sources []string) error {
	kept, err := b.list("")
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	for _, source := range sources {
		delete(b.unused, runtime.Digest(source))
	}
	for _, digest := range kept {
		if slices.ContainsFunc(sources, func(s string) bool { return runtime.Digest(s) == digest }) {
			continue
		}
		since, ok := b.unused[digest]
		if !ok {
			b.unused[digest] = now
			continue
		}
		if now.Sub(since) < runtime.UnusedAge {
			continue
		}
		if err := b.store.Delete(digest, store.BlobNamespace(blobsNamespace)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("remove a binary: %w", err)
		}
		delete(b.unused, digest)
	}
	return nil
}

func (b *Blobs) list(prefix string) ([]string, error) {
	found, err := b.store.List(store.BlobListNamespace(blobsNamespace), store.BlobListPrefix(prefix))
	if err != nil && !errors.Is(err, store.ErrNotFound) { // Micro's file store says so of an empty namespace
		return nil, fmt.Errorf("look for binaries: %w", err)
	}
	return found, nil
}
