package service_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	requestsevents "github.com/m3o/backend/pkg/events/proto/requests"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/migrations"
)

// countIn counts requests in a transaction of their own, as a consumer does.
func countIn(db *database.DB, u *service.Usage, list []service.Request) error {
	return db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
		return u.Count(ctx, tx, list)
	})
}

// counters are all counters of a table, by what they count.
func counters(t require.TestingT, db *database.DB, table, begin string) map[string]int64 {
	rows, err := db.Read().Query(context.Background(), `SELECT customer_id, `+begin+`, api, endpoint, requests FROM `+table)
	require.NoError(t, err)
	defer rows.Close()
	found := make(map[string]int64)
	for rows.Next() {
		var customer, api, endpoint string
		var at, n int64
		require.NoError(t, rows.Scan(&customer, &at, &api, &endpoint, &n))
		found[key(customer, time.UnixMicro(at), api, endpoint)] = n
	}
	require.NoError(t, rows.Err())
	return found
}

func key(customer string, begin time.Time, api, endpoint string) string {
	return fmt.Sprintf("%s %s %s/%s", customer, begin.UTC().Format(time.DateTime), api, endpoint)
}

// expected adds up distinct requests, naively.
func expected(list []service.Request) (daily, monthly map[string]int64) {
	daily, monthly = make(map[string]int64), make(map[string]int64)
	seen := make(map[string]bool)
	for _, r := range list {
		if id := strings.ToLower(r.ID); !seen[id] {
			seen[id] = true
			year, m, day := r.Time.UTC().Date()
			customer := strings.ToLower(r.CustomerID)
			daily[key(customer, time.Date(year, m, day, 0, 0, 0, 0, time.UTC), r.API, r.Endpoint)]++
			monthly[key(customer, month(year, m), r.API, r.Endpoint)]++
		}
	}
	return daily, monthly
}

func requireCounted(t require.TestingT, db *database.DB, list []service.Request) {
	daily, monthly := expected(list)
	require.Equal(t, daily, counters(t, db, "usage_daily", "day"))
	require.Equal(t, monthly, counters(t, db, "usage_monthly", "month"))
}

// mixed are requests of some customers to some endpoints in the last days.
func mixed(n int) []service.Request {
	list := requests(n)
	for i := range list {
		r := &list[i]
		r.CustomerID = []string{jane, john, strings.ToUpper(jane)}[rand.IntN(3)]
		r.API, r.Endpoint = []string{"weather", "maps", "a"}[rand.IntN(3)], []string{"Now", "Then", "b/c"}[rand.IntN(3)]
		r.Time = r.Time.Add(-time.Duration(rand.Int64N(int64(40 * 24 * time.Hour))))
	}
	return list
}

func TestCount(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, outbox, _ := setupWithOutbox(t, db)
		var all []service.Request
		for _, n := range []int{0, 1, 2, 3, 7, 999, 1000, 1001, 2750} {
			list := mixed(n)
			all = append(all, list...)
			require.NoError(t, countIn(db, u, list))
			requireCounted(t, db, all)
		}
		require.NoError(t, countIn(db, u, all), "all of them once more, in one transaction")
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		require.NoError(t, countIn(db, u, append(slices.Clone(all), all...)), "twice in one transaction")
		requireCounted(t, db, all)
		require.Zero(t, outbox.AddCallCount())
	})
}

func TestCountOfWhatWasRecorded(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _, _ := setupWithOutbox(t, db)
		list := requests(20)
		_, err := u.Record(t.Context(), "a", list[:10])
		require.NoError(t, err)
		require.NoError(t, countIn(db, u, list[5:15]), "five that were recorded and five that the gateway has published")
		require.NoError(t, countIn(db, u, list[:10]))
		requireCounted(t, db, list[:15])
		got, err := u.Record(t.Context(), "b", list)
		require.NoError(t, err)
		require.Equal(t, service.Recorded{Accepted: 5, Duplicates: 15}, got, "what was counted is known")
		total, err := u.MonthlyTotal(t.Context(), jane, true)
		require.NoError(t, err)
		require.Equal(t, service.Total{Requests: 15, Endpoints: map[string]int64{"weather/Now": 15}}, total)
	})
}

func TestARequestCountsInItsOwnDay(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		list := requests(8)
		for i, at := range []time.Time{
			time.Date(2030, 4, 30, 23, 59, 59, 999_999_999, time.UTC), // last month, as of the clock
			time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2030, 5, 1, 2, 0, 0, 0, time.FixedZone("east", 3*3600)), // April still
			time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),                  // before microseconds begin
			time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC),
			time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC), // a year ahead
			{}, // nobody has said
		} {
			list[i].Time = at
		}
		require.NoError(t, countIn(db, u, list))
		requireCounted(t, db, list)
		require.EqualValues(t, 2, counters(t, db, "usage_monthly", "month")[key(jane, month(2030, time.April), "weather", "Now")])
	})
}

func TestCountRefuses(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		for want, change := range map[string]func(r *service.Request){
			"requests[2].id: required": func(r *service.Request) { r.ID = "" },
			"requests[2].customer_id: must be the id of a customer, a UUID such as 00000000": func(r *service.Request) { r.CustomerID = "x" },
			"requests[2].api_name: required":                                                 func(r *service.Request) { r.API = "" },
			"requests[2].endpoint_name: must have 1 to 64":                                   func(r *service.Request) { r.Endpoint = "\x00" },
		} {
			list := requests(4)
			change(&list[2])
			err := countIn(db, u, list)
			require.ErrorContains(t, err, want)
			require.True(t, errors.Permanent(err), "it is a dead letter at once")
		}
		requireCounted(t, db, nil)
		list := requests(1)
		list[0].URL, list[0].Price, list[0].Status, list[0].APIKeyID = "no matter\n", -5, 0, strings.Repeat("x", 100)
		require.NoError(t, countIn(db, u, list), "what it is not counted by")
		requireCounted(t, db, list)
	})
}

// Consumers and recorders at once, each with others' requests among its own, in different orders.
func TestCountAtOnce(t *testing.T) {
	const workers, atOnce = 8, 300
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		all := mixed(workers * atOnce / 2)
		for i := range all {
			all[i].Time = all[i].Time.Add(10 * 24 * time.Hour) // young enough to be recorded
			if all[i].Time.After(request().Time) {
				all[i].Time = request().Time
			}
		}
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				for j := 0; j < len(all); j += atOnce {
					part := slices.Clone(all[j:min(j+atOnce, len(all))])
					rand.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
					if i%4 == 0 {
						_, err := u.Record(context.Background(), uuid.NewString(), part)
						assert.NoError(t, err)
					}
					assert.NoError(t, countIn(db, u, part))
				}
			})
		}
		wg.Wait()
		requireCounted(t, db, all)
	})
}

// fromEvent are the requests of an event, as a consumer reads them.
func fromEvent(e *requestsevents.Event) []service.Request {
	list := make([]service.Request, len(e.Requests))
	for i, r := range e.Requests {
		list[i] = service.Request{
			ID: r.Id, CustomerID: r.CustomerId, APIKeyID: r.ApiKeyId, API: r.ApiName, Endpoint: r.EndpointName, URL: r.Url,
			Price: r.Price, Status: r.Status, Units: r.Units, Time: r.Time.AsTime(),
		}
	}
	return list
}

// Whatever is recorded, published, delivered again and mixed, a request counts once, and Record tells the truth about it.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "usage", migrations.FS)
	rapid.Check(t, func(r *rapid.T) {
		require.NoError(r, db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
			for _, table := range []string{"usage_daily", "usage_monthly", "usage_requests", "usage_batches"} {
				if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
					return err
				}
			}
			return nil
		}))
		u, outbox, _ := setupWithOutbox(t, db)
		pool := mixed(12)
		for i := range pool {
			pool[i].Time = request().Time.Add(-time.Duration(i) * 24 * time.Hour)
		}
		some := rapid.SliceOfN(rapid.SampledFrom(pool), 1, 8)
		known, counted := make(map[string]bool), []service.Request(nil)
		var pending [][]service.Request
		events := 0
		r.Repeat(map[string]func(*rapid.T){
			"record": func(r *rapid.T) {
				list := some.Draw(r, "requests")
				fresh := 0
				for _, q := range list {
					if !known[q.ID] {
						known[q.ID] = true
						fresh++
					}
				}
				got, err := u.Record(context.Background(), uuid.NewString(), list)
				require.NoError(r, err)
				require.Equal(r, service.Recorded{Accepted: fresh, Duplicates: len(list) - fresh}, got)
				if fresh > 0 {
					events++
					pending = append(pending, fromEvent(published(t, outbox, events-1)))
				}
				require.Equal(r, events, outbox.AddCallCount())
			},
			"deliver": func(r *rapid.T) {
				if len(pending) == 0 {
					r.Skip("nothing to deliver")
				}
				list := rapid.SampledFrom(pending).Draw(r, "event") // it stays, to be delivered again
				require.NoError(r, countIn(db, u, list))
				counted = append(counted, list...)
			},
			"publish": func(r *rapid.T) {
				list := some.Draw(r, "requests")
				for _, q := range list {
					known[q.ID] = true
				}
				require.NoError(r, countIn(db, u, list))
				counted = append(counted, list...)
			},
			"": func(r *rapid.T) { requireCounted(r, db, counted) },
		})
	})
}
