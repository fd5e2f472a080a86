package service

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// maxRows is how many rows a statement has at most. With five arguments a row that is far from the 32,766 that SQLite takes
// and the 65,535 that PostgreSQL takes.
const maxRows = 1000

// chunk is how many of n rows the next statement is to have: maxRows, or a power of two. So there are few statements, which
// both databases and pkg/database remember.
func chunk(n int) int {
	if n >= maxRows {
		return maxRows
	}
	size := 1
	for 2*size <= n {
		size *= 2
	}
	return size
}

// statement is a statement about any number of rows.
type statement struct {
	head string
	// row writes a row whose first argument has a number.
	row  func(first int) string
	args int // of a row
	// shared is how many arguments there are before those of the rows.
	shared int
	tail   string
	texts  sync.Map // by the number of rows
}

// text returns the statement for a number of rows.
func (s *statement) text(rows int) string {
	if text, ok := s.texts.Load(rows); ok {
		return text.(string)
	}
	var b strings.Builder
	b.WriteString(s.head)
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.row(1 + s.shared + i*s.args))
	}
	b.WriteString(s.tail)
	s.texts.Store(rows, b.String())
	return b.String()
}

// acceptIDs adds requests that are not known, and markIDs those that are not counted. Both return which.
var (
	acceptIDs = &statement{
		head: `INSERT INTO usage_requests (id, counted, recorded) VALUES `,
		row:  func(n int) string { return "($" + strconv.Itoa(n) + ", 0, $1)" }, args: 1, shared: 1,
		tail: ` ON CONFLICT (id) DO NOTHING RETURNING id`,
	}
	markIDs = &statement{
		head: `INSERT INTO usage_requests (id, counted, recorded) VALUES `,
		row:  func(n int) string { return "($" + strconv.Itoa(n) + ", 1, $1)" }, args: 1, shared: 1,
		tail: ` ON CONFLICT (id) DO UPDATE SET counted = 1 WHERE usage_requests.counted = 0 RETURNING id`,
	}
)

// accept remembers requests, sorted by id, and returns those that were not known.
func accept(ctx context.Context, tx database.Querier, sorted []counted, now time.Time) ([]counted, error) {
	fresh, err := changed(ctx, tx, acceptIDs, sorted, now)
	if err != nil {
		return nil, fmt.Errorf("accept requests: %w", err)
	}
	return fresh, nil
}

// markCounted marks requests, sorted by id, as counted, and returns those that were not.
func markCounted(ctx context.Context, tx database.Querier, sorted []counted, now time.Time) ([]counted, error) {
	fresh, err := changed(ctx, tx, markIDs, sorted, now)
	if err != nil {
		return nil, fmt.Errorf("mark requests as counted: %w", err)
	}
	return fresh, nil
}

// changed runs a statement for requests, sorted by id, and returns those whose ids it returns.
func changed(ctx context.Context, tx database.Querier, s *statement, sorted []counted, now time.Time) ([]counted, error) {
	fresh := make([]counted, 0, len(sorted))
	args := make([]any, 0, 1+min(len(sorted), maxRows))
	for len(sorted) > 0 {
		part := sorted[:chunk(len(sorted))]
		sorted = sorted[len(part):]
		args = append(args[:0], now.UnixMicro())
		for i := range part {
			args = append(args, part[i].id[:])
		}
		var err error
		if fresh, err = returned(ctx, tx, s.text(len(part)), args, part, fresh); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// returned appends those of a part whose ids a statement returns.
func returned(ctx context.Context, tx database.Querier, query string, args []any, part, fresh []counted) ([]counted, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var id sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		i, ok := slices.BinarySearchFunc(part, id, func(r counted, id sql.RawBytes) int { return bytes.Compare(r.id[:], id) })
		if !ok {
			return nil, errors.New("the database returned a request that it was not given")
		}
		fresh = append(fresh, part[i])
	}
	return fresh, rows.Err()
}

// addDaily and addMonthly add to the counters of days and of months.
var addDaily, addMonthly = addTo("usage_daily", "day"), addTo("usage_monthly", "month")

func addTo(table, begin string) *statement {
	return &statement{
		head: `INSERT INTO ` + table + ` (customer_id, ` + begin + `, api, endpoint, requests) VALUES `,
		row:  func(n int) string { return fmt.Sprintf("($%d, $%d, $%d, $%d, $%d)", n, n+1, n+2, n+3, n+4) }, args: 5,
		tail: ` ON CONFLICT (customer_id, ` + begin + `, api, endpoint)
			DO UPDATE SET requests = ` + table + `.requests + excluded.requests`,
	}
}

// add adds sums to counters.
func add(ctx context.Context, tx database.Querier, s *statement, sums []sum) error {
	args := make([]any, 0, 5*min(len(sums), maxRows))
	for len(sums) > 0 {
		part := sums[:chunk(len(sums))]
		sums = sums[len(part):]
		args = args[:0]
		for i := range part {
			c := &part[i]
			args = append(args, c.customer.String(), c.begin, c.api, c.endpoint, c.requests)
		}
		if _, err := tx.Exec(ctx, s.text(len(part)), args...); err != nil {
			return err
		}
	}
	return nil
}
