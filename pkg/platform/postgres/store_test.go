//go:build platform

package postgres

import (
	"testing"

	"github.com/micro/micro/v3/service/store"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/platform/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a database with tables of its own.
func open(t testing.TB) *DB {
	t.Helper()
	return openAt(t, databasetest.PostgreSQL(t).Address())
}

func openAt(t testing.TB, address string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Address: address})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

func TestBlobs(t *testing.T) { //nolint:paralleltest // it measures memory
	db := open(t)
	storetest.RunBlobs(t, func(*testing.T) store.BlobStore { return db.Blobs() })
}

func TestStore(t *testing.T) {
	t.Parallel()
	db := open(t)
	storetest.Run(t, func(*testing.T) store.Store { return db.Store() })
}
