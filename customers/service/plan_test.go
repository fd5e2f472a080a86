package service

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

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
				if n == nextByCreation {
					args = []any{1, "a", 2}
				}
				query, args := n.query(status, 25, args)
				plan := databasetest.Plan(t, db, small, query, args...)
				assert.Regexp(t, "(?i)using (covering )?index|index (only )?scan", plan, "%s: %s", query, plan)
				// The page before ends where the index is entered, not behind a filter.
				assert.Regexp(t, `\(created,id\)>\(\?,\?\)|email_key>\? AND email_key<\?|\(name_key,id\)>\(\?,\?\)|Index Cond`, plan, query)
				assert.NotRegexp(t, "(?i)temp b-tree|seq scan|sort|scan customers", plan, "%s: %s", query, plan)
			}
		}
	})
}

// A customer is read by an index, however many are asked for at once.
func TestPlansOfRead(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		for _, column := range []string{"id", "email_key"} {
			plan := databasetest.Plan(t, db, small, selectEach(column, 4), "a", "b", "c", "d")
			assert.Regexp(t, "(?i)using index|index scan", plan, column)
			assert.NotRegexp(t, "(?i)temp b-tree|seq scan|sort|scan customers", plan, "%s: %s", column, plan)
		}
	})
}

// What a call with a key waits for is found by two indexes; so is every other statement about keys and what is due.
func TestPlansOfKeys(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, "customers", migrations.FS, func(t *testing.T, db *database.DB) {
		for query, args := range map[string][]any{
			selectFound(4): {"a", "b", "c", "d"},
			selectKeys:     {"a", 1},
			countOfKeys:    {"a"},
			endedKeys:      {"a", 1},
			rotatedKeys:    {1, 10},
			updateSeen(1):  {"a", 1},
			sweptKeys:      {1, 10},
			selectDue:      {"a", 1, 10},
			// What is due by mail, and what is forgotten of changes of addresses.
			selectDueMails: {1, 10},
			sweptChanges:   {1, 10},
		} {
			plan := databasetest.Plan(t, db, small, query, args...)
			assert.Regexp(t, "(?i)using (covering )?index|index (only )?scan", plan, query)
			assert.NotRegexp(t, "(?i)temp b-tree|seq scan|sort|scan customers|scan [kc] ", plan, "%s: %s", query, plan)
		}
	})
}

// small are the ways that PostgreSQL would go on tables as small as those of tests.
var small = []string{"seqscan", "bitmapscan", "sort", "incremental_sort"}
