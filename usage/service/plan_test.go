package service

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/usage/service/migrations"
)

// recorder keeps the statements that are run.
type recorder struct {
	database.Querier
	statements []statement
}

type statement struct {
	query string
	args  []any
}

func (r *recorder) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.statements = append(r.statements, statement{query, args})
	return r.Querier.Query(ctx, query, args...)
}

func (r *recorder) QueryRow(ctx context.Context, query string, args ...any) *database.Row {
	r.statements = append(r.statements, statement{query, args})
	return r.Querier.QueryRow(ctx, query, args...)
}

// Of what is asked for often no table is read as a whole, however much was counted.
func TestPlans(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "usage", migrations.FS, func(t *testing.T, db *database.DB) {
		var all []statement
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
			all = statements(ctx, t, tx)
			return nil
		}))
		require.Len(t, all, 11)
		for _, s := range all {
			plan := databasetest.Plan(t, db, small, s.query, s.args...)
			assert.Regexp(t, "(?i)using (covering )?index|using primary key|index (only )?scan", plan, "%s: %s", s.query, plan)
			assert.Regexp(t, `customer_id=\?|Index Cond: .*customer_id`, plan, s.query)
			assert.NotRegexp(t, "(?i)temp b-tree|seq scan|scan usage", plan, "%s: %s", s.query, plan)
		}
		// Days and months are found by the index, not passed over behind it.
		for _, s := range all[:4] {
			assert.Regexp(t, `customer_id=\? AND (day|month)>\? AND (day|month)<\?|Index Cond: .*(day|month) >= .*(day|month) <=`,
				databasetest.Plan(t, db, small, s.query, s.args...), s.query)
		}
	})
}

// statements are those that read on behalf of Read, ReadMonthly and Count.
func statements(ctx context.Context, t *testing.T, tx database.Querier) []statement {
	t.Helper()
	const id = "0190aaaa-0000-7000-8000-00000000000a"
	var all []statement
	for _, window := range []string{Day, Month} {
		for _, detail := range []bool{false, true} {
			all = append(all, statement{historyQuery(window, detail), []any{id, 0, 1}})
		}
	}
	r := &recorder{Querier: tx}
	_, err := totalOfMonth(ctx, r, id, time.UnixMicro(0))
	require.NoError(t, err)
	_, err = endpointsOfMonth(ctx, r, id, time.UnixMicro(0))
	require.NoError(t, err)
	_, err = standingOf(ctx, r, id)
	require.NoError(t, err)
	for _, n := range []int{1, 64} {
		totals := make([]*total, n)
		for i := range totals {
			totals[i] = &total{id: fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", i)}
		}
		_, err = standingsOf(ctx, r, totals)
		require.NoError(t, err)
		_, err = totalsOfMonth(ctx, r, 0, totals)
		require.NoError(t, err)
	}
	return append(all, r.statements...)
}

// small are the ways that PostgreSQL would go on tables as small as those of tests.
var small = []string{"seqscan", "bitmapscan", "hashagg"}
