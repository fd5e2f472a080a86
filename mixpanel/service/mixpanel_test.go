package service_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/mixpanel/service"
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
