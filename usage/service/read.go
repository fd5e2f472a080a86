package service

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// MaxRange is how much time Read looks at, at most.
	MaxRange = 400 * 24 * time.Hour
	// maxEndpoints is how many endpoints Monthly is asked for, at most.
	maxEndpoints = 100
)

// Windows are what Read adds up.
const (
	Day   = "day"
	Month = "month"
)

// Query is what Read is asked for.
type Query struct {
	CustomerID string
	// Detail is whether endpoints are told apart, and not only APIs.
	Detail bool
	// From and To are in the first and in the last day or month that is wanted. To is now when it is zero, From the beginning
	// of the month that To is in.
	From, To time.Time
	// Window is Day or Month; empty for Day.
	Window string
}

// Report is what a customer has called.
type Report struct {
	// Usage is what was called, by the name of the API, or with detail by "api/endpoint".
	Usage map[string]*History
	// Remaining is how many more requests the quota of the present month lets through.
	Remaining int64
}

// History is how an API or an endpoint was called.
type History struct {
	API, Endpoint string
	// Records are the days or months in which it was, the earliest first.
	Records []Bucket
}

// Bucket is how many requests there were in a day or a month.
type Bucket struct {
	// Begin is when it began, UTC.
	Begin    time.Time
	Requests int64
}

// Read returns what a customer has called in days or months, and what is left of the quota of the present month.
func (u *Usage) Read(ctx context.Context, q Query) (Report, error) {
	id, err := parseID("customer_id", q.CustomerID)
	if err != nil {
		return Report{}, err
	}
	now := u.now()
	if q.To.IsZero() {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = monthOf(q.To)
	}
	switch {
	case q.Window != "" && q.Window != Day && q.Window != Month:
		return Report{}, errors.Invalid("window", "must be %s or %s", Day, Month)
	case q.From.After(q.To):
		return Report{}, errors.Invalid("from", "must not be after to, which is now when it is missing")
	case q.To.Sub(q.From) > MaxRange:
		return Report{}, errors.Invalid("from", "must be at most %d days before to", MaxRange/(24*time.Hour))
	}
	usage, err := history(ctx, u.db.Read(), id, q)
	if err != nil {
		return Report{}, fmt.Errorf("read what was called: %w", err)
	}
	total, err := totalOfMonth(ctx, u.db.Read(), id, monthOf(now))
	if err != nil {
		return Report{}, err
	}
	s, err := standingOf(ctx, u.db.Read(), id)
	if err != nil {
		return Report{}, err
	}
	return Report{Usage: usage, Remaining: max(0, u.quota(&s, now)-total.Requests)}, nil
}

// Monthly is what a customer has called in the present month, and may call.
type Monthly struct {
	// Requests is how many it was in all, Endpoints how many to each of those that were asked for, by "api/endpoint".
	Requests  int64
	Endpoints map[string]int64
	Allowed   Allowed
}

// Monthly returns how many requests a customer has made in the present calendar month, UTC, in all and to some endpoints, named
// as "api/endpoint", and how many they may make.
func (u *Usage) Monthly(ctx context.Context, customerID string, endpoints []string) (Monthly, error) {
	id, err := parseID("customer_id", customerID)
	if err != nil {
		return Monthly{}, err
	}
	if err := checkEndpoints(endpoints); err != nil {
		return Monthly{}, err
	}
	now := u.now()
	var total Total
	if len(endpoints) == 0 {
		total, err = totalOfMonth(ctx, u.db.Read(), id, monthOf(now))
	} else {
		total, err = endpointsOfMonth(ctx, u.db.Read(), id, monthOf(now))
	}
	if err != nil {
		return Monthly{}, err
	}
	s, err := standingOf(ctx, u.db.Read(), id)
	if err != nil {
		return Monthly{}, err
	}
	m := Monthly{Requests: total.Requests, Endpoints: make(map[string]int64, len(endpoints)), Allowed: u.allowed(&s, now)}
	for _, e := range endpoints {
		m.Endpoints[e] = total.Endpoints[e]
	}
	return m, nil
}

func checkEndpoints(endpoints []string) error {
	if len(endpoints) > maxEndpoints {
		return errors.Invalid("endpoints", "must be at most %d", maxEndpoints)
	}
	for i, e := range endpoints {
		api, endpoint, _ := strings.Cut(e, "/")
		if api == "" || endpoint == "" || len(e) > 2*maxName+1 || !plain(e) {
			return errors.Invalid(fmt.Sprintf("endpoints[%d]", i), "must be the names of an API and an endpoint with a slash between them, such as weather/Now")
		}
	}
	return nil
}

// historyQuery is how what was called is read: rows of begin, api, endpoint and requests, ordered by begin.
func historyQuery(window string, detail bool) string {
	table, begin := "usage_daily", "day"
	if window == Month {
		table, begin = "usage_monthly", "month"
	}
	what, group := `'', CAST(SUM(requests) AS BIGINT)`, ` GROUP BY `+begin+`, api`
	if detail {
		what, group = `endpoint, requests`, ``
	}
	return `
		SELECT ` + begin + `, api, ` + what + ` FROM ` + table + `
		WHERE customer_id = $1 AND ` + begin + ` >= $2 AND ` + begin + ` <= $3` + group + `
		ORDER BY ` + begin + `, api`
}

// history reads what a customer has called.
func history(ctx context.Context, q database.Reader, customerID string, query Query) (map[string]*History, error) {
	usage := make(map[string]*History)
	// A day or month began in the time that is asked for, or has it begin in its midst.
	from, to := dayOf(query.From.UnixMicro()), query.To.UnixMicro()
	if query.Window == Month {
		from = monthOf(query.From).UnixMicro()
	}
	err := database.EachRow(ctx, q, func(row *sql.Rows) error {
		var begin, requests int64
		var api, endpoint string
		if err := row.Scan(&begin, &api, &endpoint, &requests); err != nil {
			return err
		}
		name := api
		if query.Detail {
			name += "/" + endpoint
		}
		h := usage[name]
		if h == nil {
			h = &History{API: api, Endpoint: endpoint}
			usage[name] = h
		}
		h.add(Bucket{time.UnixMicro(begin).UTC(), requests})
		return nil
	}, historyQuery(query.Window, query.Detail), customerID, from, to)
	return usage, err
}

// add adds what follows, or is of the same time if a name should have a slash.
func (h *History) add(b Bucket) {
	if n := len(h.Records); n > 0 && h.Records[n-1].Begin.Equal(b.Begin) {
		h.Records[n-1].Requests += b.Requests
		return
	}
	h.Records = append(h.Records, b)
}
