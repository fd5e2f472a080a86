package service_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/errors"
)

func TestCatalogue(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		prices, err := s.Prices(t.Context())
		require.NoError(t, err)
		require.Empty(t, prices)
		for range 2 {
			require.NoError(t, s.PublishAPI(t.Context(), "weather", []service.Endpoint{{Name: "Now", Price: 100}, {Name: "Forecast"}}))
		}
		require.NoError(t, s.PublishAPI(t.Context(), "answer", []service.Endpoint{{Name: "Question", Price: 1_000_000_000_000}}))
		prices, err = s.Prices(t.Context())
		require.NoError(t, err)
		require.Equal(t, []service.Price{
			{API: "answer", Endpoint: "Question", Price: 1_000_000_000_000}, {API: "weather", Endpoint: "Forecast"}, {API: "weather", Endpoint: "Now", Price: 100},
		}, prices)
		require.NoError(t, s.PublishAPI(t.Context(), "weather", []service.Endpoint{{Name: "Now", Price: 5}}))
		require.NoError(t, s.PublishAPI(t.Context(), "answer", nil))
		require.NoError(t, s.PublishAPI(t.Context(), "never-there", nil))
		prices, err = s.Prices(t.Context())
		require.NoError(t, err)
		require.Equal(t, []service.Price{{API: "weather", Endpoint: "Now", Price: 5}}, prices)
	})
}

func TestPublishAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				assert.NoError(t, s.PublishAPI(t.Context(), "weather", []service.Endpoint{{Name: "Now", Price: int64(i)}, {Name: "Then", Price: int64(i)}}))
			})
		}
		wg.Wait()
		prices, err := s.Prices(t.Context())
		require.NoError(t, err)
		require.Len(t, prices, 2)
	})
}

func TestCatalogueRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t)
	one := []service.Endpoint{{Name: "Now"}}
	for name, tc := range map[string]struct {
		api       string
		endpoints []service.Endpoint
		text      string
	}{
		"no API":               {"", one, "api_name: required"},
		"a large letter":       {"Weather", one, "api_name: must have 1 to 63"},
		"too long an API":      {strings.Repeat("a", 64), one, "api_name: must have 1 to 63"},
		"a slash":              {"a/b", one, "api_name: must have 1 to 63"},
		"no endpoint":          {"a", []service.Endpoint{{Name: "Now"}, {}}, "endpoints[1].name: required"},
		"a small letter":       {"a", []service.Endpoint{{Name: "now"}}, "endpoints[0].name: must have 1 to 64"},
		"too long an endpoint": {"a", []service.Endpoint{{Name: strings.Repeat("A", 65)}}, "endpoints[0].name: must have 1 to 64"},
		"twice":                {"a", []service.Endpoint{{Name: "Now"}, {Name: "Now"}}, "endpoints[1].name: must not be there twice"},
		"a negative price":     {"a", []service.Endpoint{{Name: "Now", Price: -1}}, "endpoints[0].price: must be from 0 to"},
		"too high a price":     {"a", []service.Endpoint{{Name: "Now", Price: 1_000_000_000_001}}, "endpoints[0].price: must be from 0 to"},
		"too many":             {"a", many(201), "endpoints: must be at most 200"},
	} {
		requireError(t, s.PublishAPI(t.Context(), tc.api, tc.endpoints), errors.KindInvalid, tc.text)
		require.Zero(t, s.rows("billing_prices"), name)
	}
}

func many(n int) []service.Endpoint {
	endpoints := make([]service.Endpoint, n)
	for i := range endpoints {
		endpoints[i].Name = fmt.Sprintf("E%d", i)
	}
	return endpoints
}

func TestFullCatalogue(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for i := range 50 {
		require.NoError(t, s.PublishAPI(t.Context(), fmt.Sprintf("api-%d", i), many(200)))
	}
	requireError(t, s.PublishAPI(t.Context(), "one-more", many(1)), errors.KindConflict, "more than 10000 endpoints")
	require.NoError(t, s.PublishAPI(t.Context(), "api-0", many(199)))
	require.NoError(t, s.PublishAPI(t.Context(), "one-more", many(1)))
	require.Equal(t, 10_000, s.rows("billing_prices"))
}
