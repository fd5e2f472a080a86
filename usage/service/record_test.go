package service_test

import (
	"context"
	stderrors "errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
)

// request is a valid request of jane's at the time that the tests' clock starts at.
func request() service.Request {
	return service.Request{
		ID: uuid.Must(uuid.NewV7()).String(), CustomerID: jane, APIKeyID: "key", API: "weather", Endpoint: "Now",
		URL: "/v1/weather/Now", Price: 100, Status: 200, Units: 1,
		Time: time.Date(2030, 5, 17, 11, 59, 59, 123_456_789, time.UTC),
	}
}

func requests(n int) []service.Request {
	list := make([]service.Request, n)
	for i := range list {
		list[i] = request()
	}
	return list
}

// published are the requests of the n-th event that was added, which must have been the only one of its call.
func published(t testing.TB, outbox *fakes.FakeOutbox, n int) *requestsevents.Event {
	t.Helper()
	_, tx, drafts := outbox.AddArgsForCall(n)
	require.NotNil(t, tx)
	require.Len(t, drafts, 1)
	require.Equal(t, requestsevents.Topic, drafts[0].Topic)
	require.Empty(t, drafts[0].Aggregate, "requests have no order")
	message, ok := drafts[0].Message.(*requestsevents.Event)
	require.True(t, ok)
	require.Equal(t, requestsevents.EventType_EventTypeRequests, message.Type)
	return message
}

func TestRecord(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, _ := setupWithOutbox(t, db)
		r := request()
		r.ID, r.CustomerID = strings.ToUpper(r.ID), strings.ToUpper(jane)
		got, err := u.Record(t.Context(), "batch 1", []service.Request{r})
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 1}, got)
		require.Equal(t, 1, outbox.AddCallCount())
		want := &requestsevents.Event{
			Type: requestsevents.EventType_EventTypeRequests, BatchId: "batch 1",
			Requests: []*requestsevents.Request{{
				Id: strings.ToLower(r.ID), CustomerId: jane, ApiKeyId: "key", ApiName: "weather", EndpointName: "Now",
				Url: "/v1/weather/Now", Price: 100, Status: 200, Units: 1,
				Time: timestamppb.New(time.Date(2030, 5, 17, 11, 59, 59, 123_456_000, time.UTC)),
			}},
		}
		event := published(t, outbox, 0)
		require.True(t, proto.Equal(want, event), "want %v\ngot  %v", want, event)

		total, err := u.MonthlyTotal(t.Context(), jane, false)
		require.NoError(t, err)
		require.Zero(t, total.Requests, "what was recorded is counted when its event comes")
	})
}

func TestRecordAcceptsEachRequestOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, _ := setupWithOutbox(t, db)
		list := requests(1000)
		first := list[:400]
		got, err := u.Record(t.Context(), "a", first)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 400}, got)

		// Of 1,000, 400 are known and 2 stand there twice, one of them in the other case.
		list[998], list[999] = list[500], list[501]
		list[999].ID = strings.ToUpper(list[999].ID)
		got, err = u.Record(t.Context(), "b", list)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 598, Duplicates: 402}, got)
		require.Equal(t, 2, outbox.AddCallCount())
		var ids, want []string
		for _, r := range published(t, outbox, 1).Requests {
			ids = append(ids, r.Id)
		}
		for _, r := range list[400:998] {
			want = append(want, r.ID)
		}
		require.ElementsMatch(t, want, ids)

		got, err = u.Record(t.Context(), "c", list)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Duplicates: 1000}, got)
		require.Equal(t, 2, outbox.AddCallCount(), "there is no event of no requests")
	})
}

func TestRecordOfABatchAgain(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, clock := setupWithOutbox(t, db)
		list := requests(10)
		_, err := u.Record(t.Context(), "before", list[:3])
		require.NoError(t, err)
		want, err := u.Record(t.Context(), "a", list)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 7, Duplicates: 3}, want)

		clock.now = clock.now.Add(time.Hour)
		again := slices.Clone(list)
		slices.Reverse(again)
		again[0].ID = strings.ToUpper(again[0].ID)
		again[1].Time = again[1].Time.Truncate(time.Microsecond).In(time.FixedZone("east", 3600))
		for _, list := range [][]service.Request{list, again} {
			got, err := u.Record(t.Context(), "a", list)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}

		for name, change := range map[string]func(r *service.Request){
			"id":         func(r *service.Request) { r.ID = uuid.NewString() },
			"customer":   func(r *service.Request) { r.CustomerID = john },
			"key":        func(r *service.Request) { r.APIKeyID = "other" },
			"api":        func(r *service.Request) { r.API = "weathe" },
			"endpoint":   func(r *service.Request) { r.Endpoint = "Later" },
			"the border": func(r *service.Request) { r.API, r.Endpoint = "weatherN", "ow" },
			"url":        func(r *service.Request) { r.URL = "" },
			"price":      func(r *service.Request) { r.Price++ },
			"status":     func(r *service.Request) { r.Status = 500 },
			"units":      func(r *service.Request) { r.Units = 0 },
			"time":       func(r *service.Request) { r.Time = r.Time.Add(time.Microsecond) },
		} {
			other := slices.Clone(list)
			change(&other[5])
			_, err := u.Record(t.Context(), "a", other)
			require.ErrorContains(t, err, "batch_id: names a batch of other requests", name)
			require.Equal(t, errors.KindConflict, errors.KindOf(err))
		}
		for _, other := range [][]service.Request{list[:9], append(slices.Clone(list), list[0])} {
			_, err := u.Record(t.Context(), "a", other)
			require.Equal(t, errors.KindConflict, errors.KindOf(err))
		}
		require.Equal(t, 2, outbox.AddCallCount())
	})
}

// What cannot be published is not recorded.
func TestRecordIsUndoneWithoutItsEvent(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, _ := setupWithOutbox(t, db)
		failure := stderrors.New("no outbox")
		outbox.AddReturnsOnCall(0, failure)
		list := requests(3)
		_, err := u.Record(t.Context(), "a", list)
		require.ErrorIs(t, err, failure)
		got, err := u.Record(t.Context(), "a", list)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 3}, got, "nothing had been remembered")
		require.Equal(t, 2, outbox.AddCallCount())
	})
}

// Many who record the same batch get the same answer, and many who record the same request in batches of their own share it.
func TestRecordAtOnce(t *testing.T) {
	const callers = 24
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, _ := setupWithOutbox(t, db)
		list := requests(100)
		var wg sync.WaitGroup
		answers, accepted := make([]service.Recorded, callers), make([]int, callers)
		for i := range callers {
			wg.Go(func() {
				var err error
				answers[i], err = u.Record(context.Background(), "same", list[:50])
				assert.NoError(t, err)
				mine := slices.Clone(list[50:])
				if i%2 == 0 {
					slices.Reverse(mine)
				}
				got, err := u.Record(context.Background(), uuid.NewString(), mine)
				assert.NoError(t, err)
				accepted[i] = got.Accepted
			})
		}
		wg.Wait()
		total := 0
		for i := range callers {
			require.Equal(t, service.Recorded{Accepted: 50}, answers[i])
			total += accepted[i]
		}
		require.Equal(t, 50, total)
		require.GreaterOrEqual(t, outbox.AddCallCount(), 2, "more where a transaction was run again")
	})
}

func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	u, outbox, clock := setupWithOutbox(t, databasetest.Open(t, "usage", migrations.FS))
	const form = " printable ASCII characters, no spaces, quotes or backslashes"
	for name, tc := range map[string]struct {
		change func(r *service.Request)
		want   string
	}{
		"no id":               {func(r *service.Request) { r.ID = "" }, "id: required"},
		"no UUID":             {func(r *service.Request) { r.ID = "17" }, "id: must be the id of the request, a UUID such as 00000000-0000-0000-0000-000000000000"},
		"another form":        {func(r *service.Request) { r.ID = "{" + r.ID + "}" }, "id: must be the id of the request, a UUID such as 00000000-0000-0000-0000-000000000000"},
		"no customer":         {func(r *service.Request) { r.CustomerID = "" }, "customer_id: required"},
		"no id of a customer": {func(r *service.Request) { r.CustomerID = "jane" }, "customer_id: must be the id of a customer, a UUID such as 00000000-0000-0000-0000-000000000000"},
		"long key":            {func(r *service.Request) { r.APIKeyID = strings.Repeat("x", 65) }, "api_key_id: must have at most 64" + form},
		"key of two lines":    {func(r *service.Request) { r.APIKeyID = "a\nb" }, "api_key_id: must have at most 64" + form},
		"no api":              {func(r *service.Request) { r.API = "" }, "api_name: required"},
		"long api":            {func(r *service.Request) { r.API = strings.Repeat("x", 65) }, "api_name: must have 1 to 64" + form},
		"space in the api":    {func(r *service.Request) { r.API = "a b" }, "api_name: must have 1 to 64" + form},
		"no endpoint":         {func(r *service.Request) { r.Endpoint = "" }, "endpoint_name: required"},
		"umlaut":              {func(r *service.Request) { r.Endpoint = "Nächste" }, "endpoint_name: must have 1 to 64" + form},
		"quote":               {func(r *service.Request) { r.Endpoint = `"` }, "endpoint_name: must have 1 to 64" + form},
		"zero byte":           {func(r *service.Request) { r.Endpoint = "a\x00" }, "endpoint_name: must have 1 to 64" + form},
		"long url":            {func(r *service.Request) { r.URL = strings.Repeat("x", 513) }, "url: must have at most 512" + form},
		"backslash":           {func(r *service.Request) { r.URL = `\` }, "url: must have at most 512" + form},
		"query":               {func(r *service.Request) { r.URL = "/v1/weather/Now?for=jane" }, "url: must be a path alone, without what follows a question mark or a hash"},
		"negative price":      {func(r *service.Request) { r.Price = -1 }, "price: must be from 0 to 1000000000000 millionths of a dollar"},
		"high price":          {func(r *service.Request) { r.Price = 1_000_000_000_001 }, "price: must be from 0 to 1000000000000 millionths of a dollar"},
		"no status":           {func(r *service.Request) { r.Status = 0 }, "status: must be an HTTP status, from 100 to 599"},
		"high status":         {func(r *service.Request) { r.Status = 600 }, "status: must be an HTTP status, from 100 to 599"},
		"negative units":      {func(r *service.Request) { r.Units = -1 }, "units: must be from 0 to 1000000000"},
		"many units":          {func(r *service.Request) { r.Units = 1_000_000_001 }, "units: must be from 0 to 1000000000"},
		"no time":             {func(r *service.Request) { r.Time = time.Time{} }, "time: required"},
		"the future":          {func(r *service.Request) { r.Time = clock.now.Add(5*time.Minute + 1) }, "time: must not be in the future"},
		"the past":            {func(r *service.Request) { r.Time = clock.now.Add(-35*24*time.Hour - 1) }, "time: must be in the last 35 days"},
	} {
		t.Run(name, func(t *testing.T) {
			list := requests(5)
			tc.change(&list[3])
			_, err := u.Record(t.Context(), "a", list)
			require.EqualError(t, err, "requests[3]."+tc.want)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		})
	}
	for _, tc := range []struct {
		id   string
		n    int
		want string
	}{
		{"", 1, "batch_id: required"},
		{strings.Repeat("x", 65), 1, "batch_id: must have 1 to 64 printable ASCII characters"},
		{"ä", 1, "batch_id: must have 1 to 64 printable ASCII characters"},
		{"a\nb", 1, "batch_id: must have 1 to 64 printable ASCII characters"},
		{"a", 0, "requests: must be 1 to 1000"},
		{"a", 1001, "requests: must be 1 to 1000"},
	} {
		_, err := u.Record(t.Context(), tc.id, requests(tc.n))
		require.EqualError(t, err, tc.want)
		require.Equal(t, errors.KindInvalid, errors.KindOf(err))
	}
	require.Zero(t, outbox.AddCallCount())
	got, err := u.Record(t.Context(), "a", requests(1))
	require.NoError(t, err)
	require.Equal(t, 1, got.Accepted, "nothing refused was remembered")
}

// The largest batch there may be is an event that the stream takes, with 4 KiB for its metadata.
func TestTheLargestBatchIsAnEvent(t *testing.T) {
	t.Parallel()
	u, outbox, clock := setupWithOutbox(t, databasetest.Open(t, "usage", migrations.FS))
	list := requests(service.MaxBatch)
	for i := range list {
		r := &list[i]
		r.APIKeyID, r.API, r.Endpoint = strings.Repeat("<", 64), strings.Repeat("&", 64), strings.Repeat(">", 64)
		r.URL, r.Price, r.Status, r.Units = strings.Repeat("'", 512), 1_000_000_000_000, 599, 1_000_000_000
		r.Time = clock.now.Add(5 * time.Minute).Add(-time.Microsecond)
	}
	got, err := u.Record(t.Context(), strings.Repeat(`"`, 64), list)
	require.NoError(t, err)
	require.Equal(t, service.MaxBatch, got.Accepted)
	payload, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(published(t, outbox, 0))
	require.NoError(t, err)
	require.Less(t, len(payload), stream.MaxEvent-4096)
	require.NotContains(t, string(payload), `\u`, "every character is one byte")
}

func TestRecordTakesTheLimits(t *testing.T) {
	t.Parallel()
	u, _, clock := setupWithOutbox(t, databasetest.Open(t, "usage", migrations.FS))
	list := requests(3)
	list[0].Time, list[1].Time = clock.now.Add(5*time.Minute), clock.now.Add(-35*24*time.Hour)
	list[2].APIKeyID, list[2].URL, list[2].Price, list[2].Units, list[2].Status = "", "", 0, 0, 100
	got, err := u.Record(t.Context(), strings.Repeat("~", 64), list)
	require.NoError(t, err)
	require.Equal(t, 3, got.Accepted)
}
