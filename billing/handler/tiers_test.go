package handler_test

import (
	"testing"

	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/billing/handler"
	"github.com/m3o/backend/billing/handler/fakes"
	pb "github.com/m3o/backend/billing/proto"
	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// setup serves the handlers on a core that does what the test says.
func setup(t *testing.T) (*fakes.FakeCore, *servicetest.Client) {
	t.Helper()
	core := &fakes.FakeCore{}
	h, err := handler.New(handler.Config{Core: core})
	require.NoError(t, err)
	return core, servicetest.Serve(t, "billing", func(s server.Server) error {
		return pb.RegisterBillingHandler(s, h)
	})
}

func TestNewNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := handler.New(handler.Config{})
	require.Error(t, err)
}

var tiers = []service.Tier{
	{ID: "free", Name: "Free", Currency: "eur", MonthlyQuota: 10, RateLimit: 1},
	{ID: "pro", Name: "Pro", Price: 999, Currency: "eur", MonthlyQuota: 20, RateLimit: 2, PriceID: "price_secret"},
}

func TestListTiers(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.TiersReturns(tiers)
	rsp, err := pb.NewBillingService("billing", c).ListTiers(t.Context(), &pb.ListTiersRequest{})
	require.NoError(t, err)
	require.Equal(t, 1, core.TiersCallCount())
	require.Len(t, rsp.Tiers, 2)
	require.Equal(t, "free", rsp.Tiers[0].Id)
	pro := rsp.Tiers[1]
	require.Equal(t, "pro", pro.Id)
	require.Equal(t, "Pro", pro.Name)
	require.EqualValues(t, 999, pro.Price)
	require.Equal(t, "eur", pro.Currency)
	require.EqualValues(t, 20, pro.MonthlyQuota)
	require.EqualValues(t, 2, pro.RateLimit)
}

// What Stripe calls a price is between it and us.
func TestListTiersKeepsStripesPriceToItself(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.TiersReturns(tiers)
	for _, body := range []string{``, `{}`} {
		answer, err := c.JSON(t.Context(), "Billing.ListTiers", body)
		require.NoError(t, err)
		require.Contains(t, answer, `"pro"`)
		require.NotContains(t, answer, "price_secret")
	}
	require.Equal(t, 2, core.TiersCallCount())
}

func TestListTiersRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for body, detail := range map[string]string{
		`{"id": "pro"}`:  `body: unknown field "id"`,
		`{"id": `:        `body: not valid JSON`,
		`[]`:             `body: expected an object`,
		`5`:              `body: expected an object`,
		"{\"a\xff\": 1}": `body: `,
	} {
		_, err := c.JSON(t.Context(), "Billing.ListTiers", body)
		servicetest.RequireError(t, err, 400, "billing.Billing.ListTiers", detail)
	}
	require.Zero(t, core.TiersCallCount())
}
