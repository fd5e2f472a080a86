package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/micro/micro/v3/service/store"
	"github.com/micro/micro/v3/service/store/cache"
	"github.com/micro/micro/v3/service/store/file"
	"github.com/micro/micro/v3/service/store/memory"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/storetest"
)

func failing(t *testing.T, open func() store.Store) []string {
	t.Helper()
	names, err := storetest.Failing(t.Context(), storetest.Cases(), func() (store.Store, error) { return open(), nil })
	require.NoError(t, err)
	return names
}

// Its records are JSON, which knows text only. It opens its file for each record, and gives up when it has waited for others for
// some seconds: whether it takes many writers depends on the machine.
func TestFileStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := failing(t, func() store.Store { return file.NewStore(file.WithDir(dir)) })
	require.Subset(t, []string{"takes keys of any bytes", "takes many writers"}, names)
	require.Contains(t, names, "takes keys of any bytes")
}

// A time that has passed is no time at all for it.
func TestMemoryStore(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"expires at once what has expired when it is written"},
		failing(t, func() store.Store { return memory.NewStore() }))
}

func TestCacheStore(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"expires at once what has expired when it is written"},
		failing(t, func() store.Store { return cache.NewStore(memory.NewStore()) }))
}

// It holds a blob in memory, and lists nothing: it asks for the key after one that it has not looked for.
func TestFileBlobStore(t *testing.T) { //nolint:paralleltest // it measures memory
	dir := filepath.Join(t.TempDir(), "blobs")
	names, err := storetest.Failing(t.Context(), storetest.BlobCases(), func() (store.BlobStore, error) {
		return file.NewBlobStore(file.WithDir(dir))
	})
	require.NoError(t, err)
	require.Equal(t, []string{"streams in little memory", "lists keys by prefix", "lists nothing without an error"}, names)
}
