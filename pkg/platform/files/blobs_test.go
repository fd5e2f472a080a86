package files_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/files"
	"github.com/m3o/backend/pkg/platform/storetest"
)

func TestBlobs(t *testing.T) { //nolint:paralleltest // a case measures memory
	storetest.RunBlobs(t, func(t *testing.T) store.BlobStore { return files.Blobs{Dir: t.TempDir()} })
}

func TestLongKey(t *testing.T) {
	t.Parallel()
	b := files.Blobs{Dir: t.TempDir()}
	long := strings.Repeat("k", files.MaxKey)
	require.NoError(t, b.Write(long, strings.NewReader("x")))
	keys, err := b.List()
	require.NoError(t, err)
	require.Equal(t, []string{long}, keys)
	require.EqualError(t, b.Write(long+"k", strings.NewReader("x")), "key: expected at most 2000 bytes")
	require.NoError(t, b.Delete(long+"k"), "there can be none")
	_, err = b.Read(long + "k")
	require.Equal(t, store.ErrNotFound, err)
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	b := files.Blobs{Dir: t.TempDir()}
	require.NoError(t, b.Write("a", strings.NewReader("x")))
	found, err := filepath.Glob(filepath.Join(b.Dir, "*", "*"))
	require.NoError(t, err)
	require.Len(t, found, 1, "nothing else is left")
	require.NoError(t, os.WriteFile(found[0], []byte{255, 255, 255, 255, 0}, 0o600))
	_, err = b.Read("a")
	require.EqualError(t, err, "read a blob: the file is damaged")
	require.NoError(t, b.Write("a", strings.NewReader("y")), "it can be written anew")
}
