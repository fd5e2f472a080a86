package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	// busyTimeout is how long one attempt waits for another process that writes.
	busyTimeout = 5 * time.Second
	// maxReaders is how many reads run at once; SQLite reads are short and each connection has a cache of its own.
	maxReaders = 4
)

// openSQLite replaces a pool of Micro's on a SQLite file by two: one connection that writes, and a few that read. The
// settings are part of the connections' address, since each new connection needs them anew: database/sql opens one
// whenever it has thrown one away, as it does when a context ends inside a transaction.
func openSQLite(ctx context.Context, pool *sql.DB) (write, read *sql.DB, err error) {
	file, err := fileOf(ctx, pool)
	err = errors.Join(err, pool.Close())
	if err != nil {
		return nil, nil, err
	}
	settings := url.Values{
		"_busy_timeout": {fmt.Sprint(busyTimeout.Milliseconds())},
		"_foreign_keys": {"on"},
		"_synchronous":  {"full"},
		// Statements are prepared once for each connection; preparing a long one costs as much as executing it.
		"_stmt_cache_size": {"256"},
	}
	drv := pool.Driver()
	settings.Set("_journal_mode", "wal")
	settings.Set("_txlock", "immediate")
	write = sql.OpenDB(&sqliteConnector{drv, address(file, settings)})
	write.SetMaxOpenConns(1)
	write.SetMaxIdleConns(1)
	// Changing to WAL needs the file alone, for which SQLite does not wait: another process may be doing the same.
	if err := retry(ctx, func() error { return write.PingContext(ctx) }); err != nil {
		return nil, nil, errors.Join(translate(err), write.Close())
	}
	settings.Del("_journal_mode")
	settings.Set("_txlock", "deferred")
	settings.Set("_query_only", "on")
	read = sql.OpenDB(&sqliteConnector{drv, address(file, settings)})
	read.SetMaxOpenConns(maxReaders)
	read.SetMaxIdleConns(maxReaders)
	return write, read, nil
}

// fileOf asks SQLite for the path of its file.
func fileOf(ctx context.Context, pool *sql.DB) (string, error) {
	var number int
	var name, file string
	if err := pool.QueryRowContext(ctx, "PRAGMA database_list").Scan(&number, &name, &file); err != nil {
		return "", translate(err)
	}
	if file == "" {
		return "", errors.New("SQLite without a file cannot be used")
	}
	return file, nil
}

// address makes a SQLite URI, in which the path may have any character.
func address(file string, settings url.Values) string {
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + settings.Encode()
}

type sqliteConnector struct {
	driver  driver.Driver
	address string
}

func (c *sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	return c.driver.Open(c.address)
}
func (c *sqliteConnector) Driver() driver.Driver { return c.driver }
