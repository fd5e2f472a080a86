package handler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/usage/service"
	outbox "github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
)

const (
	readEndpoint    = "usage.Usage.Read"
	monthlyEndpoint = "usage.Usage.ReadMonthly"
)

func TestRead(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.ReadReturns(service.Report{
		Usage: map[string]*service.History{"weather/Now": {API: "weather", Endpoint: "Now", Records: []service.Bucket{
			{Begin: time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC), Requests: 3}, {Begin: time.Date(2030, 5, 3, 0, 0, 0, 0, time.UTC), Requests: 4},
		}}},
		Remaining: 9993,
	}, nil)
	answer, err := c.JSON(t.Context(), "Usage.Read", `{"customer_id": "`+jane+`", "detail": true, "from": 1000, "to": 253402300799, "window": "month"}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"quota_remaining": "9993", "usage": {"weather/Now": {"api_name": "weather", "endpoint_name": "Now", "records": [
		{"date": "1903824000", "requests": "3"}, {"date": "1903996800", "requests": "4"}]}}}`, answer)
	require.Equal(t, 1, core.ReadCallCount())
	_, q := core.ReadArgsForCall(0)
	require.Equal(t, service.Query{
		CustomerID: jane, Detail: true, From: time.Unix(1000, 0).UTC(), To: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Window: "month",
	}, q)

	_, err = c.JSON(t.Context(), "Usage.Read", `{"customer_id": "`+jane+`"}`)
	require.NoError(t, err)
	_, q = core.ReadArgsForCall(1)
	require.Equal(t, service.Query{CustomerID: jane}, q, "what is not said is the core's to say")
}

func TestReadRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for body, want := range map[string]string{
		`{"customer_id": 5}`:            `customer_id: expected a string`,
		`{"from": "yesterday"}`:         `from: expected a whole number`,
		`{"from": -1}`:                  `from: must be from 0 to 253402300799, in seconds since 1970$`,
		`{"to": 253402300800}`:          `to: must be from 0 to 253402300799, in seconds since 1970$`,
		`{"to": "9223372036854775807"}`: `to: must be from 0 to 253402300799, in seconds since 1970$`,
		`{"window": 5}`:                 `window: expected a string`,
		`{"detail": "true"}`:            `detail: expected true or false`,
		`{"month": 5}`:                  `body: unknown field "month"`,
	} {
		_, err := c.JSON(t.Context(), "Usage.Read", body)
		servicetest.RequireError(t, err, 400, readEndpoint, want)
	}
	require.Zero(t, core.ReadCallCount())
	core.ReadReturns(service.Report{}, errors.Invalid("window", "not that"))
	_, err := c.JSON(t.Context(), "Usage.Read", `{}`)
	servicetest.RequireError(t, err, 400, readEndpoint, "window: not that$")
}

func TestReadMonthly(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.MonthlyReturns(service.Monthly{
		Requests: 12, Endpoints: map[string]int64{"weather/Now": 5, "weather/Never": 0}, Allowed: service.Allowed{Tier: "pro", Quota: 100},
	}, nil)
	answer, err := c.JSON(t.Context(), "Usage.ReadMonthly", `{"customer_id": "`+jane+`", "endpoints": ["weather/Now", "weather/Never"]}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"requests": {"*": "12", "weather/Now": "5", "weather/Never": "0"}, "quotas": {"*": "100"}, "tier": "pro"}`, answer)
	require.Equal(t, 1, core.MonthlyCallCount())
	_, id, endpoints := core.MonthlyArgsForCall(0)
	require.Equal(t, jane, id)
	require.Equal(t, []string{"weather/Now", "weather/Never"}, endpoints)

	core.MonthlyReturns(service.Monthly{}, errors.Invalid("endpoints[0]", "not that"))
	_, err = c.JSON(t.Context(), "Usage.ReadMonthly", `{}`)
	servicetest.RequireError(t, err, 400, monthlyEndpoint, `endpoints\[0\]: not that$`)
	for body, want := range map[string]string{
		`{"endpoints": "weather/Now"}`: `endpoints: expected a list`,
		`{"endpoints": [5]}`:           `endpoints\[0\]: expected a string`,
		`{"customer_id": true}`:        `customer_id: expected a string`,
	} {
		_, err := c.JSON(t.Context(), "Usage.ReadMonthly", body)
		servicetest.RequireError(t, err, 400, monthlyEndpoint, want)
	}
	require.Equal(t, 2, core.MonthlyCallCount())
}

// The gateway asks about everybody, a customer about themself; nobody else asks.
func TestWhoReads(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	body := `{"customer_id": "` + jane + `"}`
	for _, tc := range []struct {
		rpc                             string
		gateway, customer, other, admin int
	}{
		{"ReadMonthly", 200, 403, 403, 200}, {"Read", 403, 200, 403, 200}, {"SetQuota", 403, 403, 403, 200},
	} {
		request := body
		if tc.rpc == "SetQuota" {
			request = `{"customer_id": "` + jane + `", "clear": true}`
		}
		for code, client := range map[*servicetest.Client]int{
			c.As(servicetest.Service("gateway")): tc.gateway, c.As(servicetest.Customer(jane)): tc.customer,
			c.As(servicetest.Customer("0190bbbb-0000-7000-8000-00000000000b")): tc.other, c: tc.admin, c.As(nil): 401,
		} {
			_, err := code.JSON(t.Context(), "Usage."+tc.rpc, request)
			if client == 200 {
				require.NoError(t, err, tc.rpc)
			} else {
				servicetest.RequireError(t, err, client, "usage.Usage."+tc.rpc, "")
			}
		}
	}
	require.Equal(t, 2, core.MonthlyCallCount())
	require.Equal(t, 2, core.ReadCallCount())
	require.Equal(t, 1, core.SetQuotaCallCount())

	_, err := c.As(servicetest.Customer(jane)).JSON(t.Context(), "Usage.Read", `{}`)
	require.NoError(t, err)
	_, q := core.ReadArgsForCall(2)
	require.Equal(t, jane, q.CustomerID, "themself")
}

// With the real core: what a caller sees of it.
func TestQuotasOfTheRealCore(t *testing.T) {
	t.Parallel()
	core, err := service.New(service.Config{
		DB: databasetest.Open(t, "usage", migrations.FS), Outbox: &outbox.FakeOutbox{}, Settings: service.DefaultSettings(),
	})
	require.NoError(t, err)
	c := serve(t, core)
	about := `"customer_id": "` + jane + `"`
	for _, step := range []struct{ rpc, body, want string }{
		{"ReadMonthly", `{` + about + `}`, `{"requests": {"*": "0"}, "quotas": {"*": "10000"}, "tier": "free"}`},
		{"SetQuota", `{` + about + `, "quota": 0, "until": 4102444800}`, `{"quota": "0", "until": "4102444800", "tier": "free"}`},
		{"Read", `{` + about + `}`, `{"usage": {}, "quota_remaining": "0"}`},
		{"SetQuota", `{` + about + `, "quota": 5}`, `{"quota": "5", "until": "0", "tier": "free"}`},
		{"Read", `{` + about + `, "window": "month", "detail": true}`, `{"usage": {}, "quota_remaining": "5"}`},
		{"SetQuota", `{` + about + `, "clear": true}`, `{"quota": "10000", "until": "0", "tier": "free"}`},
	} {
		answer, err := c.JSON(t.Context(), "Usage."+step.rpc, step.body)
		require.NoError(t, err, step.body)
		require.JSONEq(t, step.want, answer, step.body)
	}
	for _, tc := range []struct{ rpc, body, want string }{
		{"Read", `{}`, "customer_id: required$"},
		{"Read", `{` + about + `, "from": 2000000000, "to": 1000000000}`, "from: must not be after to"},
		{"Read", `{` + about + `, "from": 1000000000, "to": 2000000000}`, "from: must be at most 400 days before to$"},
		{"Read", `{` + about + `, "window": "tellnobody"}`, "window: must be day or month$"},
		{"ReadMonthly", `{` + about + `, "endpoints": ["tellnobody"]}`, `endpoints\[0\]: must be the names of an API and an endpoint`},
		{"SetQuota", `{` + about + `, "quota": 1, "until": 1000000000}`, "until: must be in the future"},
		{"SetQuota", `{` + about + `, "quota": -1}`, "quota: must be from 0 to"},
	} {
		_, err := c.JSON(t.Context(), "Usage."+tc.rpc, tc.body)
		servicetest.RequireError(t, err, 400, "usage.Usage."+tc.rpc, tc.want)
		require.NotContains(t, err.Error(), "tellnobody")
	}
}
