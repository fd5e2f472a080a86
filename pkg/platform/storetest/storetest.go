// Package storetest is what holds for every store and every blob store of Micro's, as cases that an implementation or a client
// is put to.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/store"

	"github.com/m3o/backend/pkg/internal/casetest"
)

// limit is how long a case may take.
const limit = 2 * time.Minute

// Case is something that holds for every T. It takes names that nobody else has, so that cases can share what they test.
type Case[T any] struct {
	Name string
	Run  func(ctx context.Context, s T) error
	// alone says that nothing may run beside it.
	alone bool
}

// Cases are those for stores.
func Cases() []Case[store.Store] {
	return slices.Concat(recordCases(), selectionCases(), expiryCases())
}

// Run puts a store to all cases, each with one of its own that open returns.
func Run(t *testing.T, open func(t *testing.T) store.Store) { run(t, Cases(), open) }

// RunBlobs puts a blob store to all cases, each with one of its own that open returns. The test must not be parallel to others.
func RunBlobs(t *testing.T, open func(t *testing.T) store.BlobStore) { run(t, BlobCases(), open) }

func run[T any](t *testing.T, cases []Case[T], open func(t *testing.T) T) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if !c.alone {
				t.Parallel()
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Failing returns the names of the cases that a store or a blob store fails. Each gets one of its own.
func Failing[T any](ctx context.Context, cases []Case[T], open func() (T, error)) ([]string, error) {
	var failing []string
	for _, c := range cases {
		s, err := open()
		if err != nil {
			return nil, err
		}
		if fails(ctx, c, s) {
			failing = append(failing, c.Name)
		}
	}
	return failing, nil
}

func fails[T any](ctx context.Context, c Case[T], s T) (failed bool) {
	defer func() {
		if recover() != nil {
			failed = true
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.Run(ctx, s) != nil
}

// table is a table of a database that nobody else has.
type table struct {
	store          store.Store
	database, name string
}

func newTable(s store.Store) table { return table{s, "t" + uuid.NewString(), "records"} }

func (t table) put(key, value string) error {
	return t.write(&store.Record{Key: key, Value: []byte(value)})
}

// fill writes records whose values are their keys.
func (t table) fill(keys ...string) error {
	for _, key := range keys {
		if err := t.put(key, key); err != nil {
			return fmt.Errorf("write %q: %w", key, err)
		}
	}
	return nil
}

func (t table) write(r *store.Record) error {
	return t.store.Write(r, store.WriteTo(t.database, t.name))
}

func (t table) read(key string, opts ...store.ReadOption) ([]*store.Record, error) {
	return t.store.Read(key, append(opts, store.ReadFrom(t.database, t.name))...)
}

func (t table) list(opts ...store.ListOption) ([]string, error) {
	return t.store.List(append(opts, store.ListFrom(t.database, t.name))...)
}

func (t table) delete(key string) error {
	return t.store.Delete(key, store.DeleteFrom(t.database, t.name))
}

// one reads one record.
func (t table) one(key string) (*store.Record, error) {
	found, err := t.read(key)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", key, err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("read %q: %d records", key, len(found))
	}
	return found[0], casetest.Expect(found[0].Key == key, "read %q: the record of %q", key, found[0].Key)
}

// has makes sure that a record has a value.
func (t table) has(key, value string) error {
	r, err := t.one(key)
	if err != nil {
		return err
	}
	return casetest.Expect(string(r.Value) == value, "the value of %q is %.40q: expected %.40q", key, r.Value, value)
}

// lacks makes sure that a record is not there, in exactly the words of Micro's.
func (t table) lacks(key string) error {
	found, err := t.read(key)
	return casetest.Expect(err == store.ErrNotFound && len(found) == 0, "read %q: %d records, error %v", key, len(found), err) //nolint:errorlint // Micro compares so
}

// reads makes sure that the records of these keys are read, in this order.
func (t table) reads(key string, opts []store.ReadOption, want ...string) error {
	found, err := t.read(key, opts...)
	if err != nil {
		return fmt.Errorf("read %q: %w", key, err)
	}
	var keys []string
	for _, r := range found {
		keys = append(keys, r.Key)
		if string(r.Value) != r.Key {
			return fmt.Errorf("read %q: %q has the value of %q", key, r.Key, r.Value)
		}
	}
	return casetest.Expect(slices.Equal(keys, want), "read %q: %q: expected %q", key, keys, want)
}

// lists makes sure that these keys are listed, in this order.
func (t table) lists(opts []store.ListOption, want ...string) error {
	keys, err := t.list(opts...)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	return casetest.Expect(slices.Equal(keys, want), "list: %q: expected %q", keys, want)
}

// newName is a name that nobody else has.
func newName() string { return uuid.NewString() }

// first runs steps until one of them fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// together runs a function n times at once.
func together(n int, f func(i int) error) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- f(i) }()
	}
	var all error
	for range n {
		all = errors.Join(all, <-failed)
	}
	return all
}
