package service_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/mixpanel/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

func TestNowIsTheClocksInUTC(t *testing.T) {
	t.Parallel()
	clock := time.Date(2030, 1, 1, 1, 0, 0, 0, time.FixedZone("east", 3600))
	core, err := service.New(service.Config{Clock: func() time.Time { return clock }})
	require.NoError(t, err)
	now, err := core.Now(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), now)
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "mixpanel", migrations.FS, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))
	})
}
