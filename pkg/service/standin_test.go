package service_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service"
)

// It changes the environment: not in parallel.
func TestStandIn(t *testing.T) {
	t.Setenv("MICRO_STANDIN_STRIPE", "")
	t.Setenv("MICRO_STANDIN_MIXPANEL", "http://127.0.0.1:8090")
	require.Empty(t, service.StandIn("stripe"))
	require.Empty(t, service.StandIn("nobody"))
	require.Equal(t, "http://127.0.0.1:8090", service.StandIn("mixpanel"))
	t.Setenv("MICRO_STANDIN_STRIPE", "http://127.0.0.1:8089/")
	require.Equal(t, "http://127.0.0.1:8089", service.StandIn("stripe"))
}
