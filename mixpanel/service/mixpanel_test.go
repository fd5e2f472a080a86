package service_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/database"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := open(t)
	for want, cfg := range map[string]service.Config{
		"mixpanel: a database is missing":                                                              {Letters: letters{}, Settings: service.DefaultSettings()},
		"mixpanel: who knows what could not be forwarded is missing":                                   {DB: db, Settings: service.DefaultSettings()},
		"batch_size: expected a number from 1 to 2000":                                                 {DB: db, Letters: letters{}, Settings: settings(func(s *service.Settings) { s.BatchSize = 0 })},
		"topics.0: expected the name of a topic, 1 to 64 small letters, digits and hyphens, each once": {DB: db, Letters: letters{}, Settings: settings(func(s *service.Settings) { s.Topics[0] = "" })},
	} {
		_, err := service.New(cfg)
		require.EqualError(t, err, want)
	}
	registry := prometheus.NewRegistry()
	cfg := service.Config{DB: db, Letters: letters{}, Settings: service.DefaultSettings(), Metrics: registry}
	_, err := service.New(cfg)
	require.NoError(t, err)
	_, err = service.New(cfg)
	require.Error(t, err, "its metrics are there already")
}

func TestNowIsTheClocksInUTC(t *testing.T) {
	t.Parallel()
	clock := time.Date(2030, 1, 1, 1, 0, 0, 0, time.FixedZone("east", 3600))
	w := newWorld(t, open(t), func(cfg *service.Config) { cfg.Clock = func() time.Time { return clock } })
	now, err := w.Now(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), now)
	require.Equal(t, []string{"customers", "requests", "usage", "stripe"}, w.Topics())
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))
	})
}
