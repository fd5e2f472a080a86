package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/micro/micro/v3/service/store"
)

const (
	// MaxKey is how many bytes a key has at most, of a record or a blob: an index takes no more.
	MaxKey = 2000
	// MaxName is how many bytes the name of a database, a table or a namespace has at most.
	MaxName = 250
	// MaxValue is how many bytes a value has at most: it is held in memory several times on its way.
	MaxValue = 128 << 20
	// defaultName is the database and the table that Micro's own stores have.
	defaultName = "micro"
)

// records is Micro's store.
type records struct {
	db *DB

	lock    sync.RWMutex
	options store.Options
}

func newRecords(db *DB) *records {
	return &records{db: db, options: store.Options{Database: defaultName, Table: defaultName}}
}

// Init sets options and keeps those that it is not given. Nodes are kept as well, and mean nothing: where the database is
// was said when it was opened.
func (s *records) Init(opts ...store.Option) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	next := s.options
	for _, o := range opts {
		o(&next)
	}
	if next.Database == "" {
		next.Database = s.options.Database
	}
	if next.Table == "" {
		next.Table = s.options.Table
	}
	s.options = next
	return nil
}

// Options returns what was set.
func (s *records) Options() store.Options {
	s.lock.RLock()
	defer s.lock.RUnlock()
	return s.options
}

// String returns the name of this store.
func (s *records) String() string { return "postgres" }

// Close does nothing: the database is closed by whoever has opened it.
func (s *records) Close() error { return nil }

// place returns the database and the table that are meant.
func (s *records) place(database, table string) (db, tab []byte, err error) {
	s.lock.RLock()
	if database == "" {
		database = s.options.Database
	}
	if table == "" {
		table = s.options.Table
	}
	s.lock.RUnlock()
	err = errors.Join(checkLength("database: a name", database, MaxName), checkLength("table: a name", table, MaxName))
	return []byte(database), []byte(table), err
}

const writeSQL = `
INSERT INTO store_records (in_database, in_table, key, value, metadata, expires)
VALUES ($1, $2, $3, $4, $5, now() + $6)
ON CONFLICT (in_database, in_table, key)
DO UPDATE SET value = excluded.value, metadata = excluded.metadata, expires = excluded.expires`

// Write writes a record. It is there when Write returns nil; when Write fails because the connection broke or time ran out,
// it may be there.
func (s *records) Write(r *store.Record, opts ...store.WriteOption) error {
	var o store.WriteOptions
	for _, opt := range opts {
		opt(&o)
	}
	database, table, err := s.place(o.Database, o.Table)
	if err != nil {
		return err
	}
	if r == nil || r.Key == "" {
		return errors.New("key: expected one")
	}
	if err := checkLength("key: one", r.Key, MaxKey); err != nil {
		return err
	}
	if len(r.Value) > MaxValue {
		return fmt.Errorf("value: one of %d bytes: expected at most %d", len(r.Value), MaxValue)
	}
	value := r.Value
	if value == nil {
		value = []byte{}
	}
	var metadata []byte
	if len(r.Metadata) > 0 {
		if metadata, err = json.Marshal(r.Metadata); err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
	}
	// Its own zero is no time at all, for a record that never expires. A time that has passed is one as well.
	expires := pgtype.Interval{Microseconds: r.Expiry.Microseconds(), Valid: r.Expiry != 0}
	return s.db.write(timeoutOf(len(value)), func(ctx context.Context) error {
		_, err := s.db.pool.Exec(ctx, writeSQL, database, table, []byte(r.Key), value, metadata, expires)
		return err
	})
}

// timeoutOf is how long a value may take.
func timeoutOf(size int) time.Duration { return timeout + time.Duration(size>>20)*time.Second }

const deleteSQL = `DELETE FROM store_records WHERE in_database = $1 AND in_table = $2 AND key = $3`

// Delete deletes a record, if there is one.
func (s *records) Delete(key string, opts ...store.DeleteOption) error {
	var o store.DeleteOptions
	for _, opt := range opts {
		opt(&o)
	}
	database, table, err := s.place(o.Database, o.Table)
	if err != nil {
		return err
	}
	return s.db.write(timeout, func(ctx context.Context) error {
		_, err := s.db.pool.Exec(ctx, deleteSQL, database, table, []byte(key))
		return err
	})
}

const readSQL = `
SELECT value, metadata, expires - now() FROM store_records
WHERE in_database = $1 AND in_table = $2 AND key = $3 AND (expires IS NULL OR expires > now())`

// Read reads the record with a key, or all those whose keys begin or end with it, in the order of their keys.
func (s *records) Read(key string, opts ...store.ReadOption) ([]*store.Record, error) {
	var o store.ReadOptions
	for _, opt := range opts {
		opt(&o)
	}
	database, table, err := s.place(o.Database, o.Table)
	if err != nil {
		return nil, err
	}
	if !o.Prefix && !o.Suffix {
		return s.readOne(database, table, key)
	}
	q := selection{database: database, table: table, limit: o.Limit, offset: o.Offset, descending: o.Order == store.OrderDesc}
	if o.Prefix {
		q.prefix = key
	}
	if o.Suffix {
		q.suffix = key
	}
	text, args := q.sql("key, value, metadata, expires - now()")
	var found []*store.Record
	err = s.db.read(timeoutMany, func(ctx context.Context) error {
		rows, err := s.db.pool.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		found = []*store.Record{}  // none is what Micro expects where there is none
		var key pgtype.DriverBytes // which the text of the key is copied from
		var expires pgtype.Interval
		for rows.Next() {
			r := new(store.Record)
			var metadata []byte
			if err := rows.Scan(&key, &r.Value, &metadata, &expires); err != nil {
				rows.Close()
				return err
			}
			r.Key = string(key)
			if err := complete(r, metadata, expires); err != nil {
				rows.Close()
				return err
			}
			found = append(found, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (s *records) readOne(database, table []byte, key string) ([]*store.Record, error) {
	r := &store.Record{Key: key}
	err := s.db.read(timeout, func(ctx context.Context) error {
		var metadata []byte
		var expires pgtype.Interval
		err := s.db.pool.QueryRow(ctx, readSQL, database, table, []byte(key)).Scan(&r.Value, &metadata, &expires)
		if err != nil {
			return notFound(err)
		}
		return complete(r, metadata, expires)
	})
	if err != nil {
		return nil, err
	}
	return []*store.Record{r}, nil
}

// complete gives a record its metadata and the time that it has left.
func complete(r *store.Record, metadata []byte, expires pgtype.Interval) error {
	if expires.Valid { // the difference of two times: days and microseconds, and no months
		r.Expiry = time.Duration(expires.Days)*24*time.Hour + time.Duration(expires.Microseconds)*time.Microsecond
	}
	r.Metadata = make(map[string]interface{})
	if metadata == nil {
		return nil
	}
	if err := json.Unmarshal(metadata, &r.Metadata); err != nil {
		return fmt.Errorf("metadata of a record cannot be read: %w", err)
	}
	return nil
}

// List lists the keys of a table that begin and end with what is given, in their order.
func (s *records) List(opts ...store.ListOption) ([]string, error) {
	var o store.ListOptions
	for _, opt := range opts {
		opt(&o)
	}
	database, table, err := s.place(o.Database, o.Table)
	if err != nil {
		return nil, err
	}
	q := selection{
		database: database, table: table, prefix: o.Prefix, suffix: o.Suffix,
		limit: o.Limit, offset: o.Offset, descending: o.Order == store.OrderDesc,
	}
	text, args := q.sql("key")
	return s.db.keys(text, args)
}

// keys are those that a query finds.
func (db *DB) keys(text string, args []any) ([]string, error) {
	var keys []string
	err := db.read(timeoutMany, func(ctx context.Context) error {
		rows, err := db.pool.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		keys = []string{}
		var key pgtype.DriverBytes
		_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
			keys = append(keys, string(key))
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}
