package service

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
)

// Count adds requests to the counters, each of them once however often it comes, in the caller's transaction. It takes
// requests of any age. When a customer comes to the end of a quota by them, that is published. It wants to know of a request only what it is counted by: an id, a customer, an API and an endpoint.
// When one of these is wrong, nothing is counted.
func (u *Usage) Count(ctx context.Context, tx database.Querier, requests []Request) error {
	list := make([]counted, len(requests))
	for i := range requests {
		r, err := requests[i].counted(i)
		if err != nil {
			return at(i, err)
		}
		list[i] = r
	}
	sortByID(list)
	now := u.now()
	fresh, err := markCounted(ctx, tx, onceEach(list), now)
	if err != nil || len(fresh) == 0 {
		return err
	}
	daily, monthly := sums(fresh)
	if err := add(ctx, tx, "usage_daily", "day", daily); err != nil {
		return fmt.Errorf("count the requests of days: %w", err)
	}
	if err := add(ctx, tx, "usage_monthly", "month", monthly); err != nil {
		return fmt.Errorf("count the requests of months: %w", err)
	}
	return u.watch(ctx, tx, monthly, now)
}

// counter is what a counter counts: requests of a customer to an endpoint in the time that begins at one.
type counter struct {
	customer      uuid.UUID
	begin         int64 // in microseconds since 1970
	api, endpoint string
}

func (c counter) compare(other counter) int {
	return cmp.Or(bytes.Compare(c.customer[:], other.customer[:]), cmp.Compare(c.begin, other.begin),
		cmp.Compare(c.api, other.api), cmp.Compare(c.endpoint, other.endpoint))
}

// sum is what is to be added to a counter.
type sum struct {
	counter
	requests int64
}

// sums adds requests up by days and by months. Both are sorted, so that those who add at once lock rows in the same order.
func sums(requests []counted) (daily, monthly []sum) {
	days, months := make(map[counter]int64), make(map[counter]int64)
	for i := range requests {
		r := &requests[i]
		days[counter{r.customer, dayOf(r.time), r.api, r.endpoint}]++
	}
	for c, n := range days {
		c.begin = monthOf(time.UnixMicro(c.begin)).UnixMicro()
		months[c] += n
	}
	return sortedSums(days), sortedSums(months)
}

func sortedSums(of map[counter]int64) []sum {
	sorted := make([]sum, 0, len(of))
	for _, c := range slices.SortedFunc(maps.Keys(of), counter.compare) {
		sorted = append(sorted, sum{c, of[c]})
	}
	return sorted
}

// sortByID sorts requests by id; those of the same id stay in their order. So those who record and count at once lock rows
// in the same order.
func sortByID(list []counted) {
	slices.SortFunc(list, func(a, b counted) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.index, b.index))
	})
}

// onceEach leaves the first request of each id.
func onceEach(sorted []counted) []counted {
	return slices.CompactFunc(sorted, func(a, b counted) bool { return a.id == b.id })
}
