//go:build platform

package core

import (
	"testing"

	pb "github.com/micro/micro/v3/proto/store"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/service/store"
	stock "github.com/micro/micro/v3/service/store/client"
	"github.com/micro/micro/v3/service/store/handler"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/platform/postgres"
	"github.com/m3o/backend/pkg/platform/storetest"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// What a service sees of the store in PostgreSQL, through Micro's RPCs and its client. What fails is their own: metadata comes
// as the messages that it travels in, texts are UTF-8 and times whole seconds; a blob is held in memory, on both sides, an empty
// one is refused, and one that is not there is an error of the RPC's.
func TestStoreClient(t *testing.T) { //nolint:paralleltest // Micro's handlers and clients have globals
	db, err := postgres.Open(t.Context(), postgres.Config{Address: databasetest.PostgreSQL(t).Address()})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	records, blobs, caller := store.DefaultStore, store.DefaultBlobStore, client.DefaultClient
	t.Cleanup(func() { store.DefaultStore, store.DefaultBlobStore, client.DefaultClient = records, blobs, caller })
	store.DefaultStore, store.DefaultBlobStore = db.Store(), db.Blobs()
	client.DefaultClient = servicetest.Serve(t, "store", func(s server.Server) error {
		if err := pb.RegisterStoreHandler(s, &handler.Store{Stores: make(map[string]bool)}); err != nil {
			return err
		}
		return pb.RegisterBlobStoreHandler(s, new(handler.BlobStore))
	})

	failing, err := storetest.Failing(t.Context(), storetest.Cases(), func() (store.Store, error) { return stock.NewStore(), nil })
	require.NoError(t, err)
	require.Equal(t, []string{"keeps metadata", "takes keys of any bytes", "expires records within a second"}, failing)

	failing, err = storetest.Failing(t.Context(), storetest.BlobCases(), func() (store.BlobStore, error) {
		b := stock.NewBlobStore()
		_, err := b.List() // its client is made by the first call, without a lock
		return b, err
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"streams in little memory", "takes an empty blob", "says what it does not find", "deletes a blob, or none", "keeps namespaces apart",
	}, failing)
}
