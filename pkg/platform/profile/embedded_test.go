package profile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/jetstream"
)

func TestEmbeddedStream(t *testing.T) { //nolint:paralleltest // it sets the environment
	for _, test := range []struct {
		name, value, err string
		want             jetstream.Config
	}{
		{SyncEnv, "", "", jetstream.Config{}},
		{SyncEnv, "250ms", "", jetstream.Config{Sync: 250 * time.Millisecond}},
		{SyncEnv, "always", "", jetstream.Config{Always: true}},
		{SyncEnv, "0", "MICRO_EVENTS_SYNC: expected a duration", jetstream.Config{}},
		{SyncEnv, "often", "MICRO_EVENTS_SYNC: expected a duration", jetstream.Config{}},
		{RetentionEnv, "24h", "", jetstream.Config{Retention: 24 * time.Hour}},
		{RetentionEnv, "1d", "MICRO_EVENTS_RETENTION: expected a duration", jetstream.Config{}},
		{MaxBytesEnv, "1048576", "", jetstream.Config{MaxBytes: 1 << 20}},
		{MaxBytesEnv, "1M", "MICRO_EVENTS_MAX_BYTES: expected a number", jetstream.Config{}},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Setenv(test.name, test.value)
			got, err := streamConfig()
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			got.Dir = ""
			require.Equal(t, test.want, got)
		})
	}
}
