package service

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	usageevents "github.com/m3o/backend/pkg/events/proto/usage"
)

// Whoever counts adds to a row that has the customer's total of the month, and is told what it is then. The row is locked
// until the end of the transaction, so that of those who count the same customer's requests at once one after the other sees
// the total, and one of them sees it come to the quota. Who changes a quota locks the row as well, before anybody reads the
// quota who adds to the row afterwards.

// Percents of a quota at which an event is published.
const (
	warned  = 80
	reached = 100
)

// total is what a customer has called in a month.
type total struct {
	customer uuid.UUID
	id       string // the customer's
	month    int64  // when it began, in microseconds since 1970
	added    int64
	requests int64
	told     int64 // percents of the quota that an event was published for
}

type totalKey struct {
	customer uuid.UUID
	month    int64
}

// watch adds what was counted in months, sorted by customer and month, to the totals, and publishes that quotas of the present
// month come to their end. Of a month that is over nobody needs to be told.
func (u *Usage) watch(ctx context.Context, tx database.Querier, monthly []sum, now time.Time) error {
	totals := totalsOf(monthly)
	if err := addTotals(ctx, tx, totals); err != nil {
		return fmt.Errorf("add up the requests of customers: %w", err)
	}
	present := monthOf(now).UnixMicro()
	candidates := make([]*total, 0, len(totals))
	for i := range totals {
		if t := &totals[i]; t.month == present && t.told < reached && t.requests > 0 {
			candidates = append(candidates, t)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	standings, err := standingsOf(ctx, tx, candidates)
	if err != nil {
		return fmt.Errorf("read the tiers of customers: %w", err)
	}
	var drafts []events.Draft
	for _, t := range candidates {
		s, ok := standings[t.customer]
		if !ok {
			s = newcomer()
		}
		told, events := t.tell(s.tier, u.quota(&s, now))
		if len(events) == 0 {
			continue
		}
		drafts = append(drafts, events...)
		if _, err := tx.Exec(ctx, `UPDATE usage_totals SET told = $3 WHERE customer_id = $1 AND month = $2`, t.id, t.month, told); err != nil {
			return fmt.Errorf("remember that a quota comes to its end: %w", err)
		}
	}
	if len(drafts) == 0 {
		return nil
	}
	return u.outbox.Add(ctx, tx, drafts...)
}

// tell returns the events that there are to publish of a total, and the percents that were told then.
func (t *total) tell(tier string, quota int64) (told int64, drafts []events.Draft) {
	about := func() *usageevents.Quota {
		return &usageevents.Quota{Month: timestamppb.New(time.UnixMicro(t.month)), Requests: t.requests, Quota: quota, Tier: tier}
	}
	told = t.told
	if told < warned && t.requests >= quota-quota/5 {
		told = warned
		drafts = append(drafts, t.draft(&usageevents.Event{Type: usageevents.EventType_EventTypeQuotaWarning, QuotaWarning: about()}))
	}
	if told < reached && t.requests >= quota {
		told = reached
		drafts = append(drafts, t.draft(&usageevents.Event{Type: usageevents.EventType_EventTypeQuotaReached, QuotaReached: about()}))
	}
	return told, drafts
}

func (t *total) draft(e *usageevents.Event) events.Draft {
	e.CustomerId = t.id
	return events.Draft{Topic: usageevents.Topic, Message: e, Aggregate: t.id}
}

// totalsOf adds up by customers and months what is sorted by them.
func totalsOf(monthly []sum) []total {
	totals := make([]total, 0, len(monthly))
	for i := range monthly {
		s := &monthly[i]
		if n := len(totals); n > 0 && totals[n-1].customer == s.customer && totals[n-1].month == s.begin {
			totals[n-1].added += s.requests
			continue
		}
		totals = append(totals, total{customer: s.customer, id: s.id, month: s.begin, added: s.requests})
	}
	return totals
}

// addTotals adds to totals what was added to each, and fills in what they are then.
func addTotals(ctx context.Context, tx database.Querier, totals []total) error {
	index := make(map[totalKey]*total, len(totals))
	for i := range totals {
		index[totalKey{totals[i].customer, totals[i].month}] = &totals[i]
	}
	args := make([]any, 0, 3*min(len(totals), MaxBatch))
	for from, to := range database.Chunks(len(totals)) {
		args = args[:0]
		for i := from; i < to; i++ {
			args = append(args, totals[i].id, totals[i].month, totals[i].added)
		}
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			var id sql.RawBytes
			var month, requests, told int64
			if err := row.Scan(&id, &month, &requests, &told); err != nil {
				return err
			}
			customer, err := uuid.ParseBytes(id)
			if err != nil {
				return err
			}
			if t := index[totalKey{customer, month}]; t != nil {
				t.requests, t.told = requests, told
			}
			return nil
		}, `
			INSERT INTO usage_totals (customer_id, month, requests) VALUES `+database.Values(to-from, 3)+`
			ON CONFLICT (customer_id, month) DO UPDATE SET requests = usage_totals.requests + excluded.requests
			RETURNING customer_id, month, requests, told`, args...)
		if err != nil {
			return err
		}
	}
	return beginTotals(ctx, tx, totals)
}

// beginTotals makes totals that are new of the counters: they know nothing of what was counted before there was one.
func beginTotals(ctx context.Context, tx database.Querier, totals []total) error {
	byMonth := make(map[int64][]*total)
	for i := range totals {
		if t := &totals[i]; t.requests == t.added {
			byMonth[t.month] = append(byMonth[t.month], t)
		}
	}
	for month, fresh := range byMonth {
		sums, err := totalsOfMonth(ctx, tx, month, fresh)
		if err != nil {
			return err
		}
		for _, t := range fresh {
			if sums[t.customer] == t.requests {
				continue
			}
			t.requests = sums[t.customer]
			_, err := tx.Exec(ctx, `UPDATE usage_totals SET requests = $3 WHERE customer_id = $1 AND month = $2`, t.id, month, t.requests)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// totalsOfMonth adds up the counters of a month for each of some customers.
func totalsOfMonth(ctx context.Context, tx database.Querier, month int64, of []*total) (map[uuid.UUID]int64, error) {
	sums := make(map[uuid.UUID]int64, len(of))
	for from, to := range database.Chunks(len(of)) {
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			var id sql.RawBytes
			var requests int64
			if err := row.Scan(&id, &requests); err != nil {
				return err
			}
			customer, err := uuid.ParseBytes(id)
			sums[customer] = requests
			return err
		}, fmt.Sprintf(`
			SELECT customer_id, CAST(SUM(requests) AS BIGINT) FROM usage_monthly
			WHERE customer_id IN (%s) AND month = $%d GROUP BY customer_id`, database.Values(to-from, 1), to-from+1),
			append(idsOf(of[from:to]), month)...)
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// idsOf are the ids of customers as arguments, with room for one more.
func idsOf(totals []*total) []any {
	ids := make([]any, len(totals), len(totals)+1)
	for i, t := range totals {
		ids[i] = t.id
	}
	return ids
}

// standingsOf reads where customers stand; who is not known is missing.
func standingsOf(ctx context.Context, tx database.Querier, totals []*total) (map[uuid.UUID]standing, error) {
	found := make(map[uuid.UUID]standing, len(totals))
	for from, to := range database.Chunks(len(totals)) {
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			var id sql.RawBytes
			var s standing
			if err := row.Scan(&id, &s.tier, &s.monthlyQuota, &s.override, &s.until); err != nil {
				return err
			}
			customer, err := uuid.ParseBytes(id)
			found[customer] = s
			return err
		}, `
			SELECT customer_id, `+columnsOfStanding+` FROM usage_customers
			WHERE customer_id IN (`+database.Values(to-from, 1)+`)`, idsOf(totals[from:to])...)
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
