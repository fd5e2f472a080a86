package service_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	usageevents "github.com/m3o/backend/pkg/events/proto/usage"
	"github.com/m3o/backend/usage/service"
)

// tableOutbox keeps what is added in a table, so that it goes with the transaction, which a fake cannot.
type tableOutbox struct{}

func (tableOutbox) Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error {
	for _, d := range drafts {
		e := d.Message.(*usageevents.Event)
		quota := e.QuotaWarning
		if e.Type == usageevents.EventType_EventTypeQuotaReached {
			quota = e.QuotaReached
		}
		if d.Topic != usageevents.Topic || d.Aggregate != e.CustomerId {
			return fmt.Errorf("published on %s about %s", d.Topic, d.Aggregate)
		}
		_, err := tx.Exec(ctx, `INSERT INTO told (customer_id, type, month, requests, quota, tier) VALUES ($1, $2, $3, $4, $5, $6)`,
			e.CustomerId, e.Type.String(), quota.Month.AsTime().UnixMicro(), quota.Requests, quota.Quota, quota.Tier)
		if err != nil {
			return err
		}
	}
	return nil
}

// setupTold is a core with small quotas whose events are in a table.
func setupTold(t testing.TB, db *database.DB) (*service.Usage, *clock) {
	t.Helper()
	inTx(t, db, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `CREATE TABLE told (
			customer_id TEXT, type TEXT, month BIGINT, requests BIGINT, quota BIGINT, tier TEXT)`)
		return err
	})
	c := &clock{now: time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)}
	return small(t, db, tableOutbox{}, c), c
}

func small(t testing.TB, db *database.DB, outbox service.Outbox, c *clock) *service.Usage {
	t.Helper()
	u, err := service.New(service.Config{
		DB: db, Outbox: outbox, Clock: func() time.Time { return c.now },
		Settings: service.Settings{Quotas: map[string]int64{"free": 10, "pro": 100}},
	})
	require.NoError(t, err)
	return u
}

// told are the events, as "type requests/quota tier month", by requests.
func told(t require.TestingT, db *database.DB, customer string) []string {
	rows, err := db.Read().Query(context.Background(), `
		SELECT type, month, requests, quota, tier FROM told WHERE customer_id = $1 ORDER BY month, requests, type DESC`, customer)
	require.NoError(t, err)
	defer rows.Close()
	var found []string
	for rows.Next() {
		var kind, tier string
		var at, requests, quota int64
		require.NoError(t, rows.Scan(&kind, &at, &requests, &quota, &tier))
		found = append(found, fmt.Sprintf("%s %d/%d %s %s", kind[len("EventTypeQuota"):], requests, quota, tier, time.UnixMicro(at).UTC().Month()))
	}
	require.NoError(t, rows.Err())
	return found
}

// made are n requests of a customer to an endpoint at a time.
func made(n int, customer, endpoint string, at time.Time) []service.Request {
	list := requests(n)
	for i := range list {
		list[i].CustomerID, list[i].Endpoint, list[i].Time = customer, endpoint, at
	}
	return list
}

func TestQuotaEvents(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setupTold(t, db)
		count := func(n int, endpoint string) { require.NoError(t, countIn(db, u, made(n, jane, endpoint, clock.now))) }
		count(4, "Now")
		count(3, "Then")
		require.Empty(t, told(t, db, jane))
		last := made(1, jane, "Now", clock.now)
		require.NoError(t, countIn(db, u, last))
		require.NoError(t, countIn(db, u, last), "delivered again")
		want := []string{"Warning 8/10 free May"}
		require.Equal(t, want, told(t, db, jane))
		count(1, "Now")
		require.Equal(t, want, told(t, db, jane))
		count(1, "Once")
		want = append(want, "Reached 10/10 free May")
		require.Equal(t, want, told(t, db, jane))
		count(100, "Now")
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "pro", Time: clock.now})
		count(100, "Now")
		require.Equal(t, want, told(t, db, jane), "once a month, whatever becomes of the quota")
		require.Empty(t, told(t, db, john))

		clock.now = time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)
		require.NoError(t, countIn(db, u, made(200, jane, "Now", clock.now.Add(-time.Second))), "of a month that is over")
		count(79, "Now")
		require.Equal(t, want, told(t, db, jane))
		count(21, "Now")
		require.Equal(t, append(want, "Warning 100/100 pro June", "Reached 100/100 pro June"), told(t, db, jane), "both at once")
	})
}

// What was called before counts when a quota becomes smaller.
func TestASmallerQuotaIsReachedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setupTold(t, db)
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "pro", Time: clock.now})
		require.NoError(t, countIn(db, u, made(20, jane, "Now", clock.now)))
		_, err := u.SetQuota(t.Context(), jane, &service.Override{Quota: 25})
		require.NoError(t, err)
		want := []string{"Warning 20/25 pro May"}
		require.Equal(t, want, told(t, db, jane))
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "free", Time: clock.now})
		require.Equal(t, append(want, "Reached 20/10 free May"), told(t, db, jane))

		_, err = u.SetQuota(t.Context(), john, &service.Override{})
		require.NoError(t, err)
		require.Empty(t, told(t, db, john), "nothing was called")
		require.NoError(t, countIn(db, u, made(1, john, "Now", clock.now)))
		require.Equal(t, []string{"Warning 1/0 free May", "Reached 1/0 free May"}, told(t, db, john))
	})
}

// What was counted before there were totals is part of them.
func TestTotalsBeginWithWhatWasCounted(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setupTold(t, db)
		may := month(2030, time.May)
		count(t, db, jane, may, "weather", "Then", 5)
		count(t, db, jane, month(2030, time.April), "weather", "Then", 100)
		count(t, db, john, may, "weather", "Then", 9)
		require.NoError(t, countIn(db, u, append(made(2, jane, "Now", clock.now), made(1, john, "Now", clock.now)...)))
		require.NoError(t, countIn(db, u, made(1, jane, "Now", clock.now)))
		require.Equal(t, []string{"Warning 8/10 free May"}, told(t, db, jane))
		require.Equal(t, []string{"Warning 10/10 free May", "Reached 10/10 free May"}, told(t, db, john))
	})
}

// Consumers of several processes, who count the same customer's requests at once, none of whom sees what the others add.
func TestAQuotaIsReachedOnceByManyAtOnce(t *testing.T) {
	const workers, customers, each100 = 5, 4, 20
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setupTold(t, db)
		other := small(t, db, tableOutbox{}, clock)
		ids := make([]string, customers)
		for i := range ids {
			ids[i] = fmt.Sprintf("0190aaaa-0000-7000-8000-00000000000%d", i)
			changeTier(t, db, u, service.TierChange{CustomerID: ids[i], Tier: "pro", Time: clock.now})
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for range each100 {
					var list []service.Request
					for i := range ids {
						list = append(list, made(1, ids[(i+w)%customers], fmt.Sprintf("Endpoint%d", w), clock.now)...)
					}
					assert.NoError(t, countIn(db, []*service.Usage{u, other}[w%2], list))
				}
			})
		}
		wg.Wait()
		for _, id := range ids {
			require.Equal(t, []string{"Warning 80/100 pro May", "Reached 100/100 pro May"}, told(t, db, id))
		}
	})
}

// A quota becomes smaller while requests are counted that reach it: one of the two sees it.
func TestAQuotaThatChangesWhileItIsReached(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setupTold(t, db)
		var wg sync.WaitGroup
		ids := make([]string, 20)
		for i := range ids {
			id := fmt.Sprintf("0190aaaa-0000-7000-8000-0000000001%02d", i)
			ids[i] = id
			changeTier(t, db, u, service.TierChange{CustomerID: id, Tier: "pro", Time: clock.now})
			wg.Go(func() { assert.NoError(t, countIn(db, u, made(10, id, "Now", clock.now))) })
			wg.Go(func() {
				if i%2 == 0 {
					_, err := u.SetQuota(context.Background(), id, &service.Override{Quota: 10})
					assert.NoError(t, err)
					return
				}
				assert.NoError(t, db.Tx(context.Background(), func(ctx context.Context, tx database.Querier) error {
					return u.ChangeTier(ctx, tx, service.TierChange{CustomerID: id, Tier: "free", Time: clock.now.Add(time.Second)})
				}))
			})
		}
		wg.Wait()
		for i, id := range ids {
			tier := []string{"pro", "free"}[i%2]
			require.Equal(t, []string{"Warning 10/10 " + tier + " May", "Reached 10/10 " + tier + " May"}, told(t, db, id))
		}
	})
}
