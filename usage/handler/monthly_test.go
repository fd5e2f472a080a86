package handler_test

import (
	stderrors "errors"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/usage/handler"
	"github.com/m3o/backend/usage/handler/fakes"
	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
	outbox "github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
)

const (
	endpoint = "usage.Usage.ReadMonthlyTotal"
	jane     = "0190aaaa-0000-7000-8000-00000000000a"
)

// serve serves the handlers on a core.
func serve(t *testing.T, core handler.Core) *servicetest.Client {
	t.Helper()
	h, err := handler.New(handler.Config{Core: core})
	require.NoError(t, err)
	return servicetest.Serve(t, "usage", func(s server.Server) error { return pb.RegisterUsageHandler(s, h) })
}

// setup serves the handlers on a core that does what the test says.
func setup(t *testing.T) (*fakes.FakeCore, *servicetest.Client) {
	t.Helper()
	core := &fakes.FakeCore{}
	return core, serve(t, core)
}

func TestNewNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := handler.New(handler.Config{})
	require.Error(t, err)
}

func TestReadMonthlyTotal(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.MonthlyTotalReturns(service.Total{Requests: 3, Endpoints: map[string]int64{"weather/Now": 3}}, nil)
	usage := pb.NewUsageService("usage", c)
	for i, detail := range []bool{false, true} {
		rsp, err := usage.ReadMonthlyTotal(t.Context(), &pb.ReadMonthlyTotalRequest{CustomerId: jane, Detail: detail})
		require.NoError(t, err)
		require.EqualValues(t, 3, rsp.Requests)
		require.Equal(t, map[string]int64{"weather/Now": 3}, rsp.EndpointRequests)
		require.Equal(t, i+1, core.MonthlyTotalCallCount())
		_, gotID, gotDetail := core.MonthlyTotalArgsForCall(i)
		require.Equal(t, jane, gotID)
		require.Equal(t, detail, gotDetail)
	}
}

func TestReadMonthlyTotalPassesOnWhatTheCoreRefuses(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.MonthlyTotalReturns(service.Total{}, errors.Invalid("customer_id", "not that one"))
	_, err := c.JSON(t.Context(), "Usage.ReadMonthlyTotal", `{}`)
	servicetest.RequireError(t, err, 400, endpoint, "customer_id: not that one$")
	core.MonthlyTotalReturns(service.Total{}, stderrors.New("10.0.0.1 is down"))
	_, err = c.JSON(t.Context(), "Usage.ReadMonthlyTotal", `{}`)
	servicetest.RequireError(t, err, 500, endpoint, "internal error, reference [0-9a-f]+$")
	require.Equal(t, 2, core.MonthlyTotalCallCount())
}

func TestReadMonthlyTotalRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for body, detail := range map[string]string{
		`{"customer_id": 5}`:                      `customer_id: expected a string`,
		`{"customer_id": ["` + jane + `"]}`:       `customer_id: expected a string`,
		`{"detail": "true"}`:                      `detail: expected true or false`,
		`{"detail": 1}`:                           `detail: expected true or false`,
		`{"customer_id": "a", "customerId": "b"}`: `customer_id: given more than once`,
		`{"month": 1}`:                            `body: unknown field "month"`,
		`{"customer_id": `:                        `body: not valid JSON`,
		"{\"customer_id\": \"\xff\"}":             `customer_id: expected valid UTF-8`,
		`[]`:                                      `body: expected an object`,
		`{"detail":` + strings.Repeat("1", 1<<20) + `}`: `detail: expected true or false`,
	} {
		_, err := c.JSON(t.Context(), "Usage.ReadMonthlyTotal", body)
		servicetest.RequireError(t, err, 400, endpoint, detail)
	}
	require.Zero(t, core.MonthlyTotalCallCount())
}

// With the real core: what a caller sees of it.
func TestReadMonthlyTotalOfTheRealCore(t *testing.T) {
	t.Parallel()
	core, err := service.New(service.Config{DB: databasetest.Open(t, "usage", migrations.FS), Outbox: &outbox.FakeOutbox{}, Settings: service.DefaultSettings()})
	require.NoError(t, err)
	c := serve(t, core)

	rsp, err := pb.NewUsageService("usage", c).ReadMonthlyTotal(t.Context(), &pb.ReadMonthlyTotalRequest{CustomerId: jane, Detail: true})
	require.NoError(t, err)
	require.Zero(t, rsp.Requests)
	require.Empty(t, rsp.EndpointRequests)

	for body, detail := range map[string]string{
		``:                             "customer_id: required$",
		`{}`:                           "customer_id: required$",
		`{"customer_id": null}`:        "customer_id: required$",
		`{"customer_id": "jane-9999"}`: "customer_id: must be the id of a customer",
		`{"customer_id": "` + strings.Repeat("jane-9999", 1<<17) + `"}`: "customer_id: must be the id of a customer",
	} {
		_, err := c.JSON(t.Context(), "Usage.ReadMonthlyTotal", body)
		servicetest.RequireError(t, err, 400, endpoint, detail)
		require.NotContains(t, err.Error(), "jane-9999")
	}
}
