package handler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
)

func TestPublishAPI(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	_, err := pb.NewBillingService("billing", c).PublishAPI(t.Context(), &pb.PublishAPIRequest{
		ApiName: "weather", Endpoints: []*pb.Endpoint{{Name: "Now", Price: 100}, {Name: "Forecast"}},
	})
	require.NoError(t, err)
	require.Equal(t, 1, core.PublishAPICallCount())
	_, api, endpoints := core.PublishAPIArgsForCall(0)
	require.Equal(t, "weather", api)
	require.Equal(t, []service.Endpoint{{Name: "Now", Price: 100}, {Name: "Forecast"}}, endpoints)
}

func TestListPrices(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.PricesReturns([]service.Price{{API: "weather", Endpoint: "Forecast"}, {API: "weather", Endpoint: "Now", Price: 100}}, nil)
	rsp, err := pb.NewBillingService("billing", c.As(nil)).ListPrices(t.Context(), &pb.ListPricesRequest{})
	require.NoError(t, err)
	require.Equal(t, 1, core.PricesCallCount())
	require.Len(t, rsp.Prices, 2)
	require.Equal(t, "weather", rsp.Prices[1].ApiName)
	require.Equal(t, "Now", rsp.Prices[1].EndpointName)
	require.EqualValues(t, 100, rsp.Prices[1].Price)
}
