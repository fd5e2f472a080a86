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
	id       string // the customer's
	requests int64
}

// sums adds requests up by days and by months. Both are sorted, so that those who add at once lock rows in the same order.
func sums(requests []counted) (daily, monthly []sum) {
	days := make(map[counter]int64)
	for i := range requests {
		r := &requests[i]
		days[counter{r.customer, dayOf(r.time), r.api, r.endpoint}]++
	}
	daily = make([]sum, 0, len(days))
	for i, c := range slices.SortedFunc(maps.Keys(days), counter.compare) {
		s := sum{counter: c, requests: days[c]}
		if i > 0 && daily[i-1].customer == c.customer {
			s.id = daily[i-1].id
		} else {
			s.id = c.customer.String()
		}
		daily = append(daily, s)
	}
	return daily, monthsOf(daily)
}

// monthsOf adds up by months what is sorted by days.
func monthsOf(daily []sum) []sum {
	months := slices.Clone(daily)
	for i := range months {
		if i > 0 && daily[i].begin == daily[i-1].begin {
			months[i].begin = months[i-1].begin
		} else {
			months[i].begin = monthOf(time.UnixMicro(daily[i].begin)).UnixMicro()
		}
	}
	compare := func(a, b sum) int { return a.compare(b.counter) }
	// They are in order, unless there is more than one day of a customer's.
	if !slices.IsSortedFunc(months, compare) {
		slices.SortFunc(months, compare)
	}
	n := 0
	for _, s := range months {
		if n > 0 && months[n-1].counter == s.counter {
			months[n-1].requests += s.requests
			continue
		}
		months[n] = s
		n++
	}
	return months[:n]
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
