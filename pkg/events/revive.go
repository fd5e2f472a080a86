package events

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
)

// Revive readies what a database has of the events of services when it comes from a backup, before any of them is started:
// the time between, in which nothing happened to it, does not count. Else the inbox would forget what the stream, which comes
// from the same backup, delivers again; and the outbox would not publish again what had not settled.
func Revive(ctx context.Context, db *sql.DB, away time.Duration) error {
	tables := `SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = ANY(current_schemas(false))`
	if _, ok := db.Driver().(*sqlite3.SQLiteDriver); ok {
		tables = `SELECT name FROM sqlite_master WHERE type = 'table'`
	}
	services, err := withEvents(ctx, db, tables)
	if err != nil {
		return fmt.Errorf("look for the events of services: %w", err)
	}
	seconds := int64(max(away, 0) / time.Second)
	for _, service := range services {
		for _, change := range []string{
			`_outbox SET published = published + $1 WHERE published > 0`,
			`_inbox SET received = received + $1`,
		} {
			if _, err := db.ExecContext(ctx, `UPDATE `+service+change, seconds); err != nil { //nolint:gosec // the name is that of a table that there is
				return fmt.Errorf("revive the events of %s: %w", service, err)
			}
		}
	}
	return nil
}

// withEvents returns the services that have events: they have an outbox and an inbox.
func withEvents(ctx context.Context, db *sql.DB, tables string) (services []string, err error) {
	rows, err := db.QueryContext(ctx, tables)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	const outbox, inbox = 1, 2
	has := make(map[string]int)
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, err
		}
		for suffix, bit := range map[string]int{"_outbox": outbox, "_inbox": inbox} {
			service, ok := strings.CutSuffix(table, suffix)
			if !ok || service == "" {
				continue
			}
			if has[service] |= bit; has[service] == outbox|inbox {
				services = append(services, service)
			}
		}
	}
	return services, rows.Err()
}
