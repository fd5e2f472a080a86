package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/usage/service"
)

func TestErase(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		joe := "01900000-0000-7000-8000-00000000000b"
		for _, id := range []string{jane, joe} {
			changeTier(t, db, u, service.TierChange{CustomerID: id, Tier: "pro", MonthlyQuota: 5, Time: month(2030, time.May)})
			count(t, db, id, month(2030, time.May), "weather", "Now", 3)
		}
		inTx(t, db, func(ctx context.Context, tx database.Querier) error { return u.Erase(ctx, tx, jane) })
		for _, table := range []string{"usage_customers", "usage_monthly"} {
			var id string
			require.NoError(t, db.Read().QueryRow(t.Context(), `SELECT customer_id FROM `+table).Scan(&id))
			require.Equal(t, joe, id, "only the other is left in %s", table)
		}
	})
}
