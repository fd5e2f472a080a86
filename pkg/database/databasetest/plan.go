package databasetest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
)

// Plan returns what a database would do for a query on a table that is large. As the tables of tests are small, PostgreSQL is kept
// from ways, such as seqscan, which it would go there only: it goes them if there is no other.
func Plan(t testing.TB, db *database.DB, ways []string, query string, args ...any) string {
	t.Helper()
	var plan strings.Builder
	require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error {
		plan.Reset()
		prefix := `EXPLAIN QUERY PLAN `
		if db.Dialect() == database.PostgreSQL {
			prefix = `EXPLAIN `
			for _, way := range ways {
				if _, err := tx.Exec(ctx, `SET LOCAL enable_`+way+` = off`); err != nil {
					return err
				}
			}
		}
		return database.EachRow(ctx, tx, func(row *sql.Rows) error {
			names, err := row.Columns()
			if err != nil {
				return err
			}
			cells := make([]any, len(names))
			for i := range cells {
				cells[i] = new(any)
			}
			if err := row.Scan(cells...); err != nil {
				return err
			}
			_, err = fmt.Fprintln(&plan, *cells[len(cells)-1].(*any))
			return err
		}, prefix+query, args...)
	}))
	return plan.String()
}
