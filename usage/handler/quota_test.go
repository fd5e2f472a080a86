package handler_test

import (
	stderrors "errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/usage/service"
)

const setQuotaEndpoint = "usage.Usage.SetQuota"

func TestSetQuota(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	until := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, tc := range []struct {
		body    string
		want    *service.Override
		allowed service.Allowed
		answer  string
	}{
		{
			`"quota": 7, "until": 4102444800`, &service.Override{Quota: 7, Until: until},
			service.Allowed{Tier: "pro", Quota: 7, Until: until}, `{"quota": "7", "until": "4102444800", "tier": "pro"}`,
		},
		{`"quota": "0"`, &service.Override{}, service.Allowed{Tier: "pro"}, `{"quota": "0", "until": "0", "tier": "pro"}`},
		{`"clear": true`, nil, service.Allowed{Tier: "free", Quota: 10}, `{"quota": "10", "until": "0", "tier": "free"}`},
	} {
		core.SetQuotaReturns(tc.allowed, nil)
		answer, err := c.JSON(t.Context(), "Usage.SetQuota", `{"customer_id": "`+jane+`", `+tc.body+`}`)
		require.NoError(t, err)
		require.JSONEq(t, tc.answer, answer)
		require.Equal(t, i+1, core.SetQuotaCallCount())
		_, id, override := core.SetQuotaArgsForCall(i)
		require.Equal(t, jane, id)
		require.Equal(t, tc.want, override)
	}
	core.SetQuotaReturns(service.Allowed{}, stderrors.New("10.0.0.1 is down"))
	_, err := c.JSON(t.Context(), "Usage.SetQuota", `{"quota": 7}`)
	servicetest.RequireError(t, err, 500, setQuotaEndpoint, "internal error, reference [0-9a-f]+$")
}

func TestSetQuotaRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for body, want := range map[string]string{
		`{}`:                               `quota: required, or else clear$`,
		`{"quota": null}`:                  `quota: required, or else clear$`,
		`{"customer_id": "x", "until": 5}`: `quota: required, or else clear$`,
		`{"quota": 1.5}`:                   `quota: expected a whole number`,
		`{"quota": true}`:                  `quota: expected a whole number`,
		`{"quota": 1, "clear": true}`:      `clear: must not be given together with quota`,
		`{"clear": false}`:                 `clear: must be true, or missing$`,
		`{"clear": 1}`:                     `clear: expected true or false`,
		`{"clear": true, "until": 5}`:      `until: must be 0 with clear$`,
		`{"quota": 1, "until": -1}`:        `until: must be from 0 to 253402300799, in seconds since 1970$`,
		`{"quota": 1, "until": "soon"}`:    `until: expected a whole number`,
		`{"quota": 1, "customer_id": 5}`:   `customer_id: expected a string`,
	} {
		_, err := c.JSON(t.Context(), "Usage.SetQuota", body)
		servicetest.RequireError(t, err, 400, setQuotaEndpoint, want)
	}
	require.Zero(t, core.SetQuotaCallCount())
}
