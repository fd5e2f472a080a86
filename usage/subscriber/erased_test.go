package subscriber_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/subscriber"
	"github.com/m3o/backend/usage/subscriber/fakes"
)

func TestNothingIsCountedOfWhoIsErased(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	erased := func(_ context.Context, _ database.Reader, ids ...string) (map[string]bool, error) {
		require.Equal(t, []string{"gone", "there"}, ids)
		return map[string]bool{"gone": true}, nil
	}
	requests := []service.Request{{CustomerID: "there"}, {CustomerID: "GONE"}, {CustomerID: "gone"}}
	require.NoError(t, subscriber.WithoutErased(core, erased).Count(t.Context(), nil, requests))
	_, _, counted := core.CountArgsForCall(0)
	require.Equal(t, []service.Request{{CustomerID: "there"}}, counted)
	require.Equal(t, "GONE", requests[1].CustomerID, "the caller's are left as they are")
}
