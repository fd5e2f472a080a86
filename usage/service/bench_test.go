package service_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/usage/service"
	"github.com/m3o/backend/usage/service/migrations"
)

// BenchmarkCount measures what a consumer of requests does to the database, in transactions of 1,000 requests: of requests
// that nobody knew and of such as were recorded before; of 100 customers who call one endpoint each, and, the worst that
// there can be, of 1,000 different counters. On PostgreSQL it needs a server:
//
//	bin/withengines go test -run '^$' -bench Count ./usage/service
func BenchmarkCount(b *testing.B) {
	sources := map[string]func(testing.TB) databasetest.Source{"sqlite": databasetest.SQLite}
	if os.Getenv(databasetest.AddressEnv) != "" {
		sources["postgres"] = databasetest.PostgreSQL
	}
	for name, source := range sources {
		for _, tc := range []struct {
			counters int
			recorded bool
		}{{100, false}, {100, true}, {1000, false}} {
			b.Run(fmt.Sprintf("%s/counters=%d/recorded=%v", name, tc.counters, tc.recorded), func(b *testing.B) {
				db := source(b).Open(b, "usage", migrations.FS)
				u, _ := setup(b, db)
				batches := make([][]service.Request, b.N)
				for i := range batches {
					batches[i] = load(tc.counters)
					if tc.recorded {
						_, err := u.Record(b.Context(), uuid.NewString(), batches[i])
						require.NoError(b, err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				for _, batch := range batches {
					require.NoError(b, countIn(db, u, batch))
				}
				b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}

// BenchmarkRecord measures Record with batches of 1,000 requests.
func BenchmarkRecord(b *testing.B) {
	u, _ := setup(b, databasetest.Open(b, "usage", migrations.FS))
	batches := make([][]service.Request, b.N)
	for i := range batches {
		batches[i] = load(100)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, batch := range batches {
		_, err := u.Record(b.Context(), uuid.NewString(), batch)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "requests/s")
}

// load is a batch of so many counters.
func load(counters int) []service.Request {
	list := requests(service.MaxBatch)
	for i := range list {
		list[i].CustomerID = fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", i%min(counters, 200))
		list[i].Endpoint = fmt.Sprintf("Endpoint%d", i%counters/200)
		list[i].Time = list[i].Time.Add(time.Duration(i) * time.Millisecond)
	}
	return list
}
