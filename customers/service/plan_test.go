package service

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service/migrations"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
)

// Every page is found by an index, in its order: nothing is read that is not answered, and nothing is sorted.
func TestPlans(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		for _, n := range []next{nextByCreation, nextByAddress, nextByName} {
			for _, status := range []Status{"", Active} {
				args := []any{"a", "b", "c"}[:strings.Count(n.where, "$")]
				where, args := n.query(status, 25, args)
				plan := explain(t, db, `SELECT `+columns+` FROM customers_customers WHERE `+where, args)
				assert.Regexp(t, "(?i)using (covering )?index|index (only )?scan", plan, "%s: %s", where, plan)
				// The page before ends where the index is entered, not behind a filter.
				assert.Regexp(t, `id>\?|email_key>\? AND email_key<\?|\(name_key,id\)>\(\?,\?\)|Index Cond`, plan, where)
				assert.NotRegexp(t, "(?i)temp b-tree|seq scan|sort|scan customers", plan, "%s: %s", where, plan)
			}
		}
	})
}

// What a call with a key waits for is found by two indexes; so is every other statement about keys and what is due.
func TestPlansOfKeys(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		for query, args := range map[string][]any{
			selectKey:   {"a"},
			selectKeys:  {"a"},
			countOfKeys: {"a"},
			sweptKeys:   {1, 10},
			selectDue:   {"a", 1, 10},
		} {
			plan := explain(t, db, query, args)
			assert.Regexp(t, "(?i)using (covering )?index|index (only )?scan", plan, query)
			assert.NotRegexp(t, "(?i)temp b-tree|seq scan|sort|scan customers|scan [kc] ", plan, "%s: %s", query, plan)
		}
	})
}

// explain returns what the database would do for a query on a table that is large.
func explain(t *testing.T, db *database.DB, query string, args []any) string {
	t.Helper()
	var plan strings.Builder
	require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		prefix := `EXPLAIN QUERY PLAN `
		if db.Dialect() == database.PostgreSQL {
			prefix = `EXPLAIN `
			for _, way := range []string{"seqscan", "bitmapscan", "sort", "incremental_sort"} {
				if _, err := tx.Exec(ctx, `SET LOCAL enable_`+way+` = off`); err != nil {
					return err
				}
			}
		}
		rows, err := tx.Query(ctx, prefix+query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			cells := make([]any, len(names))
			for i := range cells {
				cells[i] = new(any)
			}
			if err := rows.Scan(cells...); err != nil {
				return err
			}
			fmt.Fprintln(&plan, *cells[len(cells)-1].(*any))
		}
		return rows.Err()
	}))
	return plan.String()
}
