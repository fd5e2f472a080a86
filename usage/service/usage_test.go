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
	"github.com/m3o/backend/usage/service/fakes"
	"github.com/m3o/backend/usage/service/migrations"
)

const (
	jane = "0190aaaa-0000-7000-8000-00000000000a"
	john = "0190bbbb-0000-7000-8000-00000000000b"
)

// clock is turned by the tests.
type clock struct{ now time.Time }

func setup(t testing.TB, db *database.DB) (*service.Usage, *clock) {
	t.Helper()
	u, _, c := setupWithOutbox(t, db)
	return u, c
}

func setupWithOutbox(t testing.TB, db *database.DB) (*service.Usage, *fakes.FakeOutbox, *clock) {
	t.Helper()
	c, outbox := &clock{now: time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)}, &fakes.FakeOutbox{}
	u, err := service.New(service.Config{DB: db, Outbox: outbox, Settings: service.DefaultSettings(), Clock: func() time.Time { return c.now }})
	require.NoError(t, err)
	return u, outbox, c
}

// count adds a row as the consumer of requests would.
func count(t *testing.T, db *database.DB, customer string, month time.Time, api, endpoint string, requests int64) {
	t.Helper()
	require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO usage_monthly (customer_id, month, api, endpoint, requests) VALUES ($1, $2, $3, $4, $5)`,
			customer, month.UnixMicro(), api, endpoint, requests)
		return err
	}))
}

func month(year int, m time.Month) time.Time { return time.Date(year, m, 1, 0, 0, 0, 0, time.UTC) }

func each(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "usage", migrations.FS, f)
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := service.New(service.Config{Outbox: &fakes.FakeOutbox{}})
	require.EqualError(t, err, "usage: a database is missing")
	_, err = service.New(service.Config{DB: databasetest.Open(t, "usage", migrations.FS)})
	require.EqualError(t, err, "usage: an outbox is missing")
}

func TestTheClockIsTheRealOneByDefault(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "usage", migrations.FS)
	u, err := service.New(service.Config{DB: db, Outbox: &fakes.FakeOutbox{}, Settings: service.DefaultSettings()})
	require.NoError(t, err)
	now := time.Now().UTC()
	count(t, db, jane, month(now.Year(), now.Month()), "weather", "Now", 3)
	total, err := u.MonthlyTotal(t.Context(), jane, false)
	require.NoError(t, err)
	require.EqualValues(t, 3, total.Requests)
}

func TestMonthlyTotal(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		may := month(2030, time.May)
		count(t, db, jane, may, "weather", "Now", 3)
		count(t, db, jane, may, "weather", "Forecast", 40)
		count(t, db, jane, may, "maps", "Now", 500)
		count(t, db, john, may, "maps", "Now", 7000)

		total, err := u.MonthlyTotal(t.Context(), jane, false)
		require.NoError(t, err)
		require.Equal(t, service.Total{Requests: 543}, total)

		total, err = u.MonthlyTotal(t.Context(), strings.ToUpper(jane), true)
		require.NoError(t, err)
		require.Equal(t, service.Total{Requests: 543, Endpoints: map[string]int64{
			"weather/Now": 3, "weather/Forecast": 40, "maps/Now": 500,
		}}, total)
	})
}

func TestNothingCountedIsNothingUsed(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		total, err := u.MonthlyTotal(t.Context(), jane, false)
		require.NoError(t, err)
		require.Equal(t, service.Total{}, total)
		total, err = u.MonthlyTotal(t.Context(), jane, true)
		require.NoError(t, err)
		require.Equal(t, service.Total{Endpoints: map[string]int64{}}, total)
	})
}

func TestAMonthIsACalendarMonthInUTC(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		for m, n := range map[time.Time]int64{
			month(2027, time.December): 1, month(2028, time.January): 2, month(2028, time.February): 4,
			month(2028, time.March): 8,
		} {
			count(t, db, jane, m, "weather", "Now", n)
		}
		east, west := time.FixedZone("east", 14*3600), time.FixedZone("west", -12*3600)
		for _, tc := range []struct {
			now  time.Time
			want int64
		}{
			{time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC), 1},
			{time.Date(2027, 12, 31, 23, 59, 59, 999_999_999, time.UTC), 1},
			{time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC), 2},
			{time.Date(2028, 1, 31, 23, 59, 59, 999_999_999, time.UTC), 2},
			{time.Date(2028, 2, 29, 23, 59, 59, 0, time.UTC), 4}, // a leap year
			{time.Date(2028, 3, 1, 0, 0, 0, 1, time.UTC), 8},
			{time.Date(2028, 3, 1, 13, 59, 59, 0, east), 4}, // where it is March already
			{time.Date(2028, 3, 1, 14, 0, 0, 0, east), 8},
			{time.Date(2028, 2, 29, 12, 0, 0, 0, west), 8}, // where it is February still
			{time.Date(2028, 4, 1, 0, 0, 0, 0, time.UTC), 0},
			{time.Date(2029, 1, 15, 0, 0, 0, 0, time.UTC), 0}, // the same month of another year
		} {
			clock.now = tc.now
			for _, detail := range []bool{false, true} {
				total, err := u.MonthlyTotal(t.Context(), jane, detail)
				require.NoError(t, err)
				require.Equal(t, tc.want, total.Requests, "%s, detail %v", tc.now, detail)
			}
		}
	})
}

// Names are the gateway's: should one have a slash, the parts add up nevertheless.
func TestThePartsAreTheWhole(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		count(t, db, jane, month(2030, time.May), "a", "b/c", 1)
		count(t, db, jane, month(2030, time.May), "a/b", "c", 2)
		total, err := u.MonthlyTotal(t.Context(), jane, true)
		require.NoError(t, err)
		require.Equal(t, service.Total{Requests: 3, Endpoints: map[string]int64{"a/b/c": 3}}, total)
	})
}

// PostgreSQL adds whole numbers up to something else than a whole number.
func TestLargeNumbers(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		count(t, db, jane, month(2030, time.May), "weather", "Now", math.MaxInt64-1)
		count(t, db, jane, month(2030, time.May), "weather", "Forecast", 1)
		total, err := u.MonthlyTotal(t.Context(), jane, false)
		require.NoError(t, err)
		require.EqualValues(t, math.MaxInt64, total.Requests)
	})
}

func TestTheTableHasOneRowForEachEndpointAndMonth(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		count(t, db, jane, month(2030, time.May), "weather", "Now", 1)
		for _, requests := range []int64{1, -1} {
			err := db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
				_, err := tx.Exec(ctx, `
					INSERT INTO usage_monthly (customer_id, month, api, endpoint, requests) VALUES ($1, $2, $3, $4, $5)`,
					jane, month(2030, time.May).UnixMicro(), "weather", "Now", requests)
				return err
			})
			require.Error(t, err)
		}
	})
}

func TestMonthlyTotalRefusesWhatIsNoID(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		const noID = "customer_id: must be the id of a customer, a UUID such as 00000000-0000-0000-0000-000000000000"
		for id, want := range map[string]string{
			"":                                     "customer_id: required",
			"jane":                                 noID,
			" " + jane:                             noID,
			strings.ReplaceAll(jane, "-", ""):      noID,
			"{" + jane + "}":                       noID,
			"urn:uuid:" + jane:                     noID,
			"g" + jane[1:]:                         noID,
			strings.Repeat("x", 1<<20):             noID,
			"' OR '1'='1' -- ' OR '1'='1' -- ' OR": noID,
		} {
			for _, detail := range []bool{false, true} {
				_, err := u.MonthlyTotal(t.Context(), id, detail)
				require.EqualError(t, err, want)
				require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			}
		}
	})
}

func TestADatabaseThatFailsIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "usage", migrations.FS)
	u, _ := setup(t, db)
	require.NoError(t, db.Close())
	for _, detail := range []bool{false, true} {
		_, err := u.MonthlyTotal(t.Context(), jane, detail)
		require.Equal(t, errors.KindInternal, errors.KindOf(err))
	}
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))
		count(t, db, jane, month(2030, time.May), "weather", "Now", 1)
	})
}
