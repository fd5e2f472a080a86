package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver
	bolt "go.etcd.io/bbolt"

	"github.com/m3o/backend/pkg/events"
)

// magic is what a database of SQLite begins with.
const magic = "SQLite format 3\x00"

// isSQLite tells whether a file is a database of SQLite.
func isSQLite(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	begin := make([]byte, len(magic))
	switch _, err := io.ReadFull(f, begin); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case err != nil:
		return false, err
	}
	return string(begin) == magic, nil
}

func openSQLite(path, settings string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+settings)
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// eachFile calls f for each file below a directory that is there before.
func eachFile(dir string, f func(path string) error) error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range files {
		if err := f(path); err != nil {
			return err
		}
	}
	return nil
}

// settle takes into each database below a directory what was in its log, as its next user would, and makes sure that it is
// whole: a backup that cannot be used is none.
func settle(ctx context.Context, dir string) error {
	return eachFile(dir, func(path string) error {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil // the log of a database that was settled
		}
		is, err := isSQLite(path)
		switch {
		case err != nil:
			return err
		case is:
			err = settleSQLite(ctx, path)
		case strings.HasPrefix(path, filepath.Join(dir, "server")) && strings.HasSuffix(path, ".db"):
			err = checkBolt(path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func settleSQLite(ctx context.Context, path string) (err error) {
	db, err := openSQLite(path, "_busy_timeout=1000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return errors.New("the database is damaged")
	}
	_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// checkBolt makes sure that a file of Micro's store is whole.
func checkBolt(path string) (err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bolt.Tx) error {
		var failures error
		for err := range tx.Check() {
			failures = errors.Join(failures, err)
		}
		return failures
	})
}

// schemasOf returns the versions of the schemas in a database of SQLite; nil for any other file.
func schemasOf(path string) (map[string]int64, error) {
	if is, err := isSQLite(path); err != nil || !is {
		return nil, err
	}
	db, err := openSQLite(path, "mode=ro&immutable=1")
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // it was only read
	ctx := context.Background()
	tables, err := names(ctx, db, `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%\_migrations' ESCAPE '\'`)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]int64, len(tables))
	for _, table := range tables {
		var version sql.NullInt64
		if err := db.QueryRowContext(ctx, `SELECT MAX(version_id) FROM `+table).Scan(&version); err != nil {
			return nil, err
		}
		versions[table] = version.Int64
	}
	return versions, nil
}

func names(ctx context.Context, db *sql.DB, query string) (found []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		found = append(found, name)
	}
	return found, rows.Err()
}

// revive readies the databases of SQLite below a directory for their services.
func revive(ctx context.Context, dir string, away time.Duration) error {
	return eachFile(dir, func(path string) (err error) {
		if is, err := isSQLite(path); err != nil || !is {
			return err
		}
		db, err := openSQLite(path, "_busy_timeout=1000&_synchronous=full")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return events.Revive(ctx, db, away)
	})
}
