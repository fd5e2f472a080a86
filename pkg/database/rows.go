package database

import (
	"context"
	"database/sql"
)

// EachRow calls f with each row that a query selects, until f returns an error, which it returns.
func EachRow(ctx context.Context, q Reader, f func(row *sql.Rows) error, query string, args ...any) error {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
