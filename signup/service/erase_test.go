package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/signup/service"
)

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		ctx, visit := t.Context(), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		require.NoError(t, w.Track(ctx, service.Track{ID: "v1", Email: "Jane@example.com", Referrer: "friend", FirstVisit: visit}))
		require.NoError(t, w.Track(ctx, service.Track{ID: "v2", Email: "joe@example.com"}))
		require.NoError(t, w.SendVerificationEmail(ctx, "jane@example.com"))
		inTx := func(f func(ctx context.Context, tx database.Querier) error) { require.NoError(t, db.Tx(ctx, f)) }
		inTx(func(ctx context.Context, tx database.Querier) error {
			return w.Welcome(ctx, tx, "01900000-0000-7000-8000-000000000001", "jane@example.com", visit)
		})
		require.Equal(t, 1, count(t, db, "tokens"))
		require.Equal(t, 1, count(t, db, "welcomes"))
		inTx(func(ctx context.Context, tx database.Querier) error {
			return w.Erase(ctx, tx, "01900000-0000-7000-8000-00000000000a", "JANE@example.com")
		})
		require.Zero(t, count(t, db, "tokens"))
		require.Zero(t, count(t, db, "mails"))
		require.Zero(t, count(t, db, "welcomes"))
		left, err := w.ReadTrack(ctx, "v1")
		require.NoError(t, err)
		require.Equal(t, service.Track{ID: "v1", FirstVisit: visit}, left)
		other, err := w.ReadTrack(ctx, "v2")
		require.NoError(t, err)
		require.Equal(t, "joe@example.com", other.Email)
		// Without an address there is nothing to look for but tokens.
		inTx(func(ctx context.Context, tx database.Querier) error {
			return w.Erase(ctx, tx, "01900000-0000-7000-8000-00000000000a", "")
		})
	})
}
