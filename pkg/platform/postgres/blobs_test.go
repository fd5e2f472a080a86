//go:build platform

package postgres

import (
	"bytes"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
)

// Whoever is slow at handing over a blob keeps nobody from records, and another blob waits for its place only.
func TestSlowBlob(t *testing.T) {
	t.Parallel()
	address := with(t, databasetest.PostgreSQL(t).Address(), func(_ *url.URL, q url.Values) { q.Set("pool_max_conns", "2") })
	db := openAt(t, address)
	slow, hand := io.Pipe()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- db.Blobs().Write("a", slow) }()
	_, err := hand.Write(make([]byte, chunk+1)) // returns when the transaction has begun
	require.NoError(t, err)
	go func() { second <- db.Blobs().Write("b", strings.NewReader("b")) }()
	for range 10 {
		require.NoError(t, db.Store().Write(&store.Record{Key: "a"}))
	}
	_, err = db.Blobs().Read("a")
	require.Equal(t, store.ErrNotFound, err)
	require.NoError(t, hand.Close())
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	r, err := db.Blobs().Read("a")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(make([]byte, chunk+1), got))
}
