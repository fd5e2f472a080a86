package brokertest_test

import (
	"testing"

	"github.com/micro/micro/v3/service/broker"
	"github.com/micro/micro/v3/service/broker/memory"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/brokertest"
)

// Micro's broker calls its handlers while it publishes, knows no queues, and gives all of them one message.
func TestMemory(t *testing.T) {
	t.Parallel()
	b := memory.NewBroker()
	require.NoError(t, b.Connect())
	require.Equal(t, []string{
		"shares messages among the members of a queue",
		"gives a busy member's share to others",
		"does not wait for a slow subscriber",
		"gives each subscriber a copy",
	}, brokertest.Failing(func() broker.Broker { return b }))
}
