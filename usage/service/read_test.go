package service_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/migrations"
)

func day(year int, m time.Month, d int) time.Time { return time.Date(year, m, d, 0, 0, 0, 0, time.UTC) }

func history(api, endpoint string, records ...service.Bucket) *service.History {
	return &service.History{API: api, Endpoint: endpoint, Records: records}
}

// calls counts so many requests of jane's to an endpoint, of 17 May 2030, noon, and days before and after.
func calls(t *testing.T, db *database.DB, u *service.Usage) {
	t.Helper()
	for _, c := range []struct {
		n             int
		api, endpoint string
		at            time.Time
	}{
		{1, "weather", "Now", time.Date(2030, 4, 30, 23, 59, 59, 0, time.UTC)},
		{2, "weather", "Now", day(2030, 5, 1)},
		{3, "weather", "Now", time.Date(2030, 5, 1, 23, 0, 0, 0, time.UTC)},
		{4, "weather", "Then", day(2030, 5, 1)},
		{5, "weather", "Now", day(2030, 5, 17)},
		{6, "maps", "Find", day(2030, 5, 16)},
		{7, "maps", "Find", day(2029, 6, 5)},
		{8, "maps", "Find", day(2030, 5, 18)}, // tomorrow, by a clock that is ahead
	} {
		list := made(c.n, jane, c.endpoint, c.at)
		for i := range list {
			list[i].API = c.api
		}
		require.NoError(t, countIn(db, u, list))
	}
	require.NoError(t, countIn(db, u, made(9, john, "Now", day(2030, 5, 2))))
}

func TestRead(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		calls(t, db, u)
		may := func(d int, n int64) service.Bucket { return service.Bucket{Begin: day(2030, 5, d), Requests: n} }
		for name, tc := range map[string]struct {
			query service.Query
			want  map[string]*service.History
		}{
			"this month": {service.Query{}, map[string]*service.History{
				"weather": history("weather", "", may(1, 9), may(17, 5)), "maps": history("maps", "", may(16, 6)),
			}},
			"by endpoint": {service.Query{Detail: true}, map[string]*service.History{
				"weather/Now": history("weather", "Now", may(1, 5), may(17, 5)), "weather/Then": history("weather", "Then", may(1, 4)),
				"maps/Find": history("maps", "Find", may(16, 6)),
			}},
			"whole days": {
				service.Query{From: day(2030, 4, 30).Add(12 * time.Hour), To: day(2030, 5, 1), Window: "day"},
				map[string]*service.History{"weather": history("weather", "", service.Bucket{Begin: day(2030, 4, 30), Requests: 1}, may(1, 9))},
			},
			"one moment": {
				service.Query{From: day(2030, 5, 16), To: day(2030, 5, 16)},
				map[string]*service.History{"maps": history("maps", "", may(16, 6))},
			},
			"to the end of the day before": {
				service.Query{From: day(2030, 5, 2), To: day(2030, 5, 16).Add(-time.Microsecond)}, map[string]*service.History{},
			},
			"the month of to": {
				service.Query{To: day(2030, 4, 30).Add(time.Hour)},
				map[string]*service.History{"weather": history("weather", "", service.Bucket{Begin: day(2030, 4, 30), Requests: 1})},
			},
			"months": {
				service.Query{Window: "month", From: clock.now.AddDate(0, 0, -400), To: clock.now},
				map[string]*service.History{
					"weather": history("weather", "", service.Bucket{Begin: day(2030, 4, 1), Requests: 1}, service.Bucket{Begin: day(2030, 5, 1), Requests: 14}),
					"maps":    history("maps", "", service.Bucket{Begin: day(2029, 6, 1), Requests: 7}, service.Bucket{Begin: day(2030, 5, 1), Requests: 14}),
				},
			},
			"this month, by endpoint": {service.Query{Window: "month", Detail: true}, map[string]*service.History{
				"weather/Now":  history("weather", "Now", service.Bucket{Begin: day(2030, 5, 1), Requests: 10}),
				"weather/Then": history("weather", "Then", service.Bucket{Begin: day(2030, 5, 1), Requests: 4}),
				"maps/Find":    history("maps", "Find", service.Bucket{Begin: day(2030, 5, 1), Requests: 14}),
			}},
			"a future": {service.Query{From: day(2031, 1, 1), To: day(2031, 2, 1)}, map[string]*service.History{}},
		} {
			tc.query.CustomerID = strings.ToUpper(jane)
			got, err := u.Read(t.Context(), tc.query)
			require.NoError(t, err, name)
			require.Equal(t, service.Report{Usage: tc.want, Remaining: 10_000 - 28}, got, name)
		}
		_, err := u.SetQuota(t.Context(), jane, &service.Override{Quota: 27})
		require.NoError(t, err)
		got, err := u.Read(t.Context(), service.Query{CustomerID: jane})
		require.NoError(t, err)
		require.Zero(t, got.Remaining)
		clock.now = time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)
		got, err = u.Read(t.Context(), service.Query{CustomerID: jane})
		require.NoError(t, err)
		require.Equal(t, service.Report{Usage: map[string]*service.History{}, Remaining: 27}, got, "the month has turned")
	})
}

// Should a name have a slash, two can look the same; nothing is lost of either.
func TestReadAddsUpWhatLooksTheSame(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		for i, name := range [][2]string{{"a", "b/c"}, {"a/b", "c"}} {
			list := made(i+1, jane, name[1], clock.now)
			for i := range list {
				list[i].API = name[0]
			}
			require.NoError(t, countIn(db, u, list))
		}
		got, err := u.Read(t.Context(), service.Query{CustomerID: jane, Detail: true})
		require.NoError(t, err)
		require.Len(t, got.Usage, 1)
		require.Equal(t, []service.Bucket{{Begin: day(2030, 5, 17), Requests: 3}}, got.Usage["a/b/c"].Records)
	})
}

func TestReadRefuses(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		for _, tc := range []struct {
			query service.Query
			want  string
		}{
			{service.Query{}, "customer_id: required"},
			{service.Query{CustomerID: "jane"}, "customer_id: must be the id of a customer, a UUID such as 00000000-0000-0000-0000-000000000000"},
			{service.Query{CustomerID: jane, Window: "hour"}, "window: must be day or month"},
			{service.Query{CustomerID: jane, Window: "Day"}, "window: must be day or month"},
			{service.Query{CustomerID: jane, From: clock.now.Add(time.Second)}, "from: must not be after to, which is now when it is missing"},
			{service.Query{CustomerID: jane, From: day(2030, 1, 2), To: day(2030, 1, 1)}, "from: must not be after to, which is now when it is missing"},
			{service.Query{CustomerID: jane, From: clock.now.Add(-service.MaxRange - time.Second)}, "from: must be at most 400 days before to"},
			{service.Query{CustomerID: jane, Window: "month", From: time.Unix(1, 0), To: day(9999, 12, 31)}, "from: must be at most 400 days before to"},
		} {
			_, err := u.Read(t.Context(), tc.query)
			require.EqualError(t, err, tc.want)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		}
		_, err := u.Read(t.Context(), service.Query{CustomerID: jane, From: clock.now.Add(-service.MaxRange)})
		require.NoError(t, err)
	})
}

func TestMonthly(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		calls(t, db, u)
		got, err := u.Monthly(t.Context(), strings.ToUpper(jane), nil)
		require.NoError(t, err)
		require.Equal(t, service.Monthly{Requests: 28, Endpoints: map[string]int64{}, Allowed: free}, got)
		got, err = u.Monthly(t.Context(), jane, []string{"weather/Now", "weather/Never", "weather/Now"})
		require.NoError(t, err)
		require.Equal(t, service.Monthly{Requests: 28, Endpoints: map[string]int64{"weather/Now": 10, "weather/Never": 0}, Allowed: free}, got)
		clock.now = clock.now.AddDate(0, 1, 0)
		got, err = u.Monthly(t.Context(), jane, []string{"weather/Now"})
		require.NoError(t, err)
		require.Equal(t, service.Monthly{Endpoints: map[string]int64{"weather/Now": 0}, Allowed: free}, got)
	})
}

func TestMonthlyRefuses(t *testing.T) {
	t.Parallel()
	u, _ := setup(t, databasetest.Open(t, "usage", migrations.FS))
	const noName = "must be the names of an API and an endpoint with a slash between them, such as weather/Now"
	for endpoint, want := range map[string]string{
		"": noName, "weather": noName, "/Now": noName, "weather/": noName, "wea ther/Now": noName, "weather/N\x00w": noName,
		strings.Repeat("x", 1<<20) + "/y": noName,
	} {
		_, err := u.Monthly(t.Context(), jane, []string{"weather/Now", endpoint})
		require.EqualError(t, err, "endpoints[1]: "+want)
	}
	_, err := u.Monthly(t.Context(), jane, make([]string, 101))
	require.EqualError(t, err, "endpoints: must be at most 100")
	_, err = u.Monthly(t.Context(), "jane", nil)
	require.ErrorContains(t, err, "customer_id: must be the id of a customer")
}

func TestQuotasOfADatabaseThatFails(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "usage", migrations.FS)
	u, _ := setup(t, db)
	require.NoError(t, db.Close())
	for _, f := range []func() error{
		func() error { _, err := u.Read(context.Background(), service.Query{CustomerID: jane}); return err },
		func() error { _, err := u.Monthly(context.Background(), jane, nil); return err },
		func() error { _, err := u.Monthly(context.Background(), jane, []string{"a/b"}); return err },
		func() error { _, err := u.SetQuota(context.Background(), jane, nil); return err },
	} {
		require.Equal(t, errors.KindInternal, errors.KindOf(f()))
	}
}

func TestReadOfLargeNumbers(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		count(t, db, jane, month(2030, time.May), "weather", "Now", math.MaxInt64-1)
		count(t, db, jane, month(2030, time.May), "weather", "Then", 1)
		got, err := u.Read(t.Context(), service.Query{CustomerID: jane, Window: "month"})
		require.NoError(t, err)
		require.Zero(t, got.Remaining)
		require.EqualValues(t, math.MaxInt64, got.Usage["weather"].Records[0].Requests)
	})
}
