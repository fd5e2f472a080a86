package streamtest_test

import (
	"testing"

	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/events/stream/memory"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream/streamtest"
)

// Why Micro's stream cannot be used.
func TestMemoryStream(t *testing.T) {
	t.Parallel()
	failing, err := streamtest.Failing(t.Context(), func() (events.Stream, error) { return memory.NewStream() })
	require.NoError(t, err)
	require.Equal(t, []string{
		"keeps the order",
		"keeps the id and the time of the metadata",
		"shares events among the members of a group",
		"delivers at once in manual ack mode",
		"repeats at once after a nack",
		"repeats to the group that has nacked alone",
		"begins at an offset in time",
		"closes the channel when the context ends",
		"gives back what a member leaves behind",
	}, failing)
}
