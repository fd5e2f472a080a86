package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/mixpanel/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
)

// texts are what is sent of an event.
func texts(t *testing.T, topic, kind, payload string) (id string, all []string) {
	t.Helper()
	e := happened(topic, kind, payload)
	records, err := service.Records(e, 0)
	require.NoError(t, err)
	for _, r := range records {
		all = append(all, r.Text())
	}
	return e.ID.String(), all
}

func TestAnEventOfCustomers(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC))
	payload, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(&customersevents.Event{
		Type: customersevents.EventType_EventTypeSubscriptionChanged, CallerId: "jane",
		Customer: &customersevents.Customer{
			Id: jane, Status: "active", Email: "tellnobody@example.com", Name: "Tell Nobody", Meta: map[string]string{"tell": "nobody"},
			Created: at, Updated: at, Version: 3,
		},
		SubscriptionChanged: &customersevents.SubscriptionChanged{PreviousTier: "free", Tier: "pro", MonthlyQuota: 1_000_000, RateLimit: 100},
	})
	require.NoError(t, err)
	id, all := texts(t, "customers", "EventTypeSubscriptionChanged", string(payload))
	require.Len(t, all, 1)
	require.JSONEq(t, `{"event": "customers_EventTypeSubscriptionChanged", "properties": {
		"$insert_id": "`+id+`", "distinct_id": "`+jane+`", "time": 1893456000123, "type": "EventTypeSubscriptionChanged",
		"customer.id": "`+jane+`", "customer.status": "active", "customer.version": 3,
		"customer.created": "2029-01-01T00:00:00Z", "customer.updated": "2029-01-01T00:00:00Z",
		"subscription_changed.previous_tier": "free", "subscription_changed.tier": "pro",
		"subscription_changed.monthly_quota": 1000000, "subscription_changed.rate_limit": 100
	}}`, all[0])
}

func TestEachRequestIsAnEvent(t *testing.T) {
	t.Parallel()
	const first, second = "0190cccc-0000-7000-8000-000000000001", "0190cccc-0000-7000-8000-000000000002"
	payload, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(&requestsevents.Event{
		Type: requestsevents.EventType_EventTypeRequests, BatchId: "b", Requests: []*requestsevents.Request{
			{Id: first, CustomerId: jane, ApiKeyId: john, ApiName: "weather", EndpointName: "Now", Url: "/v1/weather/Now", Price: 100, Status: 200,
				Units: 1, Time: timestamppb.New(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC))},
			{Id: second, CustomerId: john, ApiName: "weather", EndpointName: "Now"},
		},
	})
	require.NoError(t, err)
	_, all := texts(t, "requests", "EventTypeRequests", string(payload))
	require.Len(t, all, 2)
	require.JSONEq(t, `{"event": "requests_EventTypeRequests", "properties": {
		"$insert_id": "`+first+`", "distinct_id": "`+jane+`", "time": 1861920000000, "customer_id": "`+jane+`", "api_key_id": "`+john+`",
		"api_name": "weather", "endpoint_name": "Now", "price": 100, "status": 200, "units": 1
	}}`, all[0])
	require.JSONEq(t, `{"event": "requests_EventTypeRequests", "properties": {
		"$insert_id": "`+second+`", "distinct_id": "`+john+`", "time": 1893456000123, "customer_id": "`+john+`",
		"api_name": "weather", "endpoint_name": "Now", "price": 0, "status": 0, "units": 0
	}}`, all[1])

	_, all = texts(t, "requests", "EventTypeRequests", `{}`)
	require.Empty(t, all)
	_, all = texts(t, "requests", "EventTypeOfTheFuture", string(payload))
	require.Len(t, all, 1, "of other types there may be requests that were not made")
	require.NotContains(t, all[0], first)
	for name, payload := range map[string]string{
		"no object":           `[]`,
		"no JSON":             `{`,
		"a request without":   `{"requests": [5]}`,
		"no UUID":             `{"requests": [{"id": "five"}]}`,
		"the UUID for none":   `{"requests": [{"id": "00000000-0000-0000-0000-000000000000"}]}`,
		"a time that is none": `{"requests": [{"id": "` + first + `", "time": "yesterday"}]}`,
	} {
		_, err := service.Records(happened("requests", "EventTypeRequests", payload), 0)
		require.True(t, errors.Permanent(err), name)
	}
}

// An event is called what it says of itself.
func TestNames(t *testing.T) {
	t.Parallel()
	for want, e := range map[string][2]string{
		"customers_EventTypeOfTheFuture":             {"customers", "EventTypeOfTheFuture"},
		"customers_EventTypeUnknown":                 {"customers", ""},
		"newer_" + strings.Repeat("é", 124):          {"newer", strings.Repeat("é", 200)},
		strings.Repeat("t", 128) + "_EventTypeShort": {strings.Repeat("t", 128), "EventTypeShort"},
	} {
		for _, payload := range []string{`{"new": {"n": 1}}`, `no JSON`, `[1]`, `null`, ``, `{} {}`} {
			_, all := texts(t, e[0], e[1], payload)
			require.Len(t, all, 1)
			require.Contains(t, all[0], `"event":"`+want+`"`)
			require.Contains(t, all[0], `"distinct_id":""`)
		}
	}
}

func TestWhomAnEventIsAbout(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"customer": {"id": "` + jane + `"}}`:                                                        jane,
		`{"customer_id": "` + jane + `"}`:                                                             jane,
		`{"charge_succeeded": {"customer_id": "` + jane + `"}}`:                                       jane,
		`{"new": {"customer": {"id": "` + jane + `"}}, "n": 1}`:                                       jane,
		`{"a": {"customer_id": "` + jane + `"}, "b": {"customer_id": "` + jane + `"}, "c": {"d": 1}}`: jane,
		`{"a": {"customer_id": "` + jane + `"}, "b": {"customer_id": "` + john + `"}}`:                "",
		`{"meta": {"customer_id": "` + jane + `"}}`:                                                   "",
		`{"customer_id": "jane@example.com"}`:                                                         "",
		`{"customer": {"id": 5}, "customer_id": 5}`:                                                   "",
		`{"customer": "x"}`: "",
	} {
		_, all := texts(t, "new", "EventTypeNew", payload)
		require.Contains(t, all[0], `"distinct_id":"`+want+`"`, payload)
	}
}
