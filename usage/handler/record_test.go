package handler_test

import (
	"encoding/json"
	stderrors "errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	pb "github.com/m3o/backend/usage/proto"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
)

const recordEndpoint = "usage.Usage.Record"

// made is when the requests of these tests were made.
var made = time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)

// body is a request to record one request of jane's, with a field of it changed; null takes it away.
func body(t *testing.T, field string, value any) string {
	t.Helper()
	request := map[string]any{
		"id": "0190cccc-0000-7000-8000-00000000000c", "customer_id": jane, "api_key_id": "key", "api_name": "weather",
		"endpoint_name": "Now", "url": "/v1/weather/Now", "price": 100, "status": 200, "units": 2,
		"time": made.Format(time.RFC3339Nano),
	}
	if field != "" {
		request[field] = value
	}
	b, err := json.Marshal(map[string]any{"batch_id": "a", "requests": []any{request}})
	require.NoError(t, err)
	return string(b)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.RecordReturns(service.Recorded{Accepted: 1, Duplicates: 2}, nil)
	answer, err := c.JSON(t.Context(), "Usage.Record", body(t, "", nil))
	require.NoError(t, err)
	require.JSONEq(t, `{"accepted": 1, "duplicates": 2}`, answer)
	require.Equal(t, 1, core.RecordCallCount())
	_, batch, requests := core.RecordArgsForCall(0)
	require.Equal(t, "a", batch)
	require.Equal(t, []service.Request{{
		ID: "0190cccc-0000-7000-8000-00000000000c", CustomerID: jane, APIKeyID: "key", API: "weather", Endpoint: "Now",
		URL: "/v1/weather/Now", Price: 100, Status: 200, Units: 2, Time: made,
	}}, requests)
}

func TestRecordPassesOnWhatTheCoreRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		code   int
		detail string
	}{
		{errors.Invalid("requests[3].id", "required"), 400, `requests\[3\].id: required$`},
		{errors.Conflict("batch_id", "names another"), 409, "batch_id: names another$"},
		{errors.Unavailable("full"), 503, "full$"},
		{stderrors.New("10.0.0.1 is down"), 500, "internal error, reference [0-9a-f]+$"},
	} {
		core, c := setup(t)
		core.RecordReturns(service.Recorded{}, tc.err)
		_, err := c.JSON(t.Context(), "Usage.Record", body(t, "", nil))
		servicetest.RequireError(t, err, tc.code, recordEndpoint, tc.detail)
	}
}

func TestRecordRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for want, body := range map[string]string{
		`batch_id: expected a string`:                                      `{"batch_id": 5}`,
		`requests: expected a list`:                                        `{"batch_id": "a", "requests": {}}`,
		`requests\[0\]: expected an object`:                                `{"batch_id": "a", "requests": [5]}`,
		`requests\[0\]: unknown field "method"`:                            body(t, "method", "GET"),
		`requests\[0\].customer_id: expected a string`:                     body(t, "customer_id", 5),
		`requests\[0\].price: expected a whole number`:                     body(t, "price", 1.5),
		`requests\[0\].status: expected a whole number from -2147483648`:   body(t, "status", 1<<40),
		`requests\[0\].time: expected a time such as 2006-01-02T15:04:05Z`: body(t, "time", 1_900_000_000),
		`requests\[0\].time: required$`:                                    body(t, "time", nil),
		`requests\[0\].endpoint_name: expected valid UTF-8`:                strings.Replace(body(t, "endpoint_name", "x"), `"x"`, "\"\xff\"", 1),
	} {
		_, err := c.JSON(t.Context(), "Usage.Record", body)
		servicetest.RequireError(t, err, 400, recordEndpoint, want)
	}
	require.Zero(t, core.RecordCallCount())
}

// In protobuf's own encoding a time can be none.
func TestRecordRefusesATimeThatIsNone(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for _, at := range []*timestamppb.Timestamp{{Nanos: -1}, {Nanos: 1_000_000_000}, {Seconds: 1 << 60}} {
		_, err := pb.NewUsageService("usage", c).Record(t.Context(), &pb.RecordRequest{
			BatchId: "a", Requests: []*pb.Request{{Time: timestamppb.Now()}, {Time: at}},
		})
		servicetest.RequireError(t, err, 400, recordEndpoint, `requests\[1\].time: must be in the years 1 to 9999`)
	}
	require.Zero(t, core.RecordCallCount())
}

// An operator and the gateway record, and nobody else.
func TestRecordIsForTheGateway(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	_, err := c.As(servicetest.Service("gateway")).JSON(t.Context(), "Usage.Record", body(t, "", nil))
	require.NoError(t, err)
	_, err = c.As(servicetest.Customer(jane)).JSON(t.Context(), "Usage.Record", body(t, "", nil))
	servicetest.RequireError(t, err, 403, recordEndpoint, "")
	_, err = c.As(servicetest.Service("signup")).JSON(t.Context(), "Usage.Record", body(t, "", nil))
	servicetest.RequireError(t, err, 403, recordEndpoint, "")
	_, err = c.As(nil).JSON(t.Context(), "Usage.Record", body(t, "", nil))
	servicetest.RequireError(t, err, 401, recordEndpoint, "")
	require.Equal(t, 1, core.RecordCallCount())
}

// With the real core: what a caller sees of it.
func TestRecordOfTheRealCore(t *testing.T) {
	t.Parallel()
	outbox := &fakes.FakeOutbox{}
	core, err := service.New(service.Config{DB: databasetest.Open(t, "usage", migrations.FS), Outbox: outbox, Settings: service.DefaultSettings()})
	require.NoError(t, err)
	c := serve(t, core)
	for range 2 {
		answer, err := c.JSON(t.Context(), "Usage.Record", body(t, "", nil))
		require.NoError(t, err)
		require.JSONEq(t, `{"accepted": 1, "duplicates": 0}`, answer)
	}
	answer, err := c.JSON(t.Context(), "Usage.Record", strings.Replace(body(t, "", nil), `"a"`, `"b"`, 1))
	require.NoError(t, err)
	require.JSONEq(t, `{"accepted": 0, "duplicates": 1}`, answer)
	_, err = c.JSON(t.Context(), "Usage.Record", body(t, "id", uuid.NewString()))
	servicetest.RequireError(t, err, 409, recordEndpoint, "batch_id: names a batch of other requests")
	for want, body := range map[string]string{
		"batch_id: required$":                         `{"requests": []}`,
		"requests: must be 1 to 1000$":                `{"batch_id": "a"}`,
		`requests\[0\].customer_id: required$`:        body(t, "customer_id", ""),
		`requests\[0\].time: must be in the last 35`:  body(t, "time", "2006-01-02T15:04:05Z"),
		`requests\[0\].api_key_id: must have at most`: body(t, "api_key_id", fmt.Sprint("tellnobody", strings.Repeat("x", 1<<20))),
	} {
		_, err := c.JSON(t.Context(), "Usage.Record", body)
		servicetest.RequireError(t, err, 400, recordEndpoint, want)
		require.NotContains(t, err.Error(), "tellnobody")
	}
	require.Equal(t, 1, outbox.AddCallCount())
}
