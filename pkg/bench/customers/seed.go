package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"

	"github.com/m3o/backend/pkg/database"
)

// names are what customers are called; a search for one finds the same number of every thousand.
var names = []string{
	"Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas",
	"Klara", "Leon", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sven", "Tina", "Udo",
}

// firstSecond is when the first customer was made.
var firstSecond = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

// table is rows to be seeded.
type table struct {
	name    string
	columns []string
	rows    int
	row     func(i int) []any
}

// tables are those of so many customers.
func tables(customers int) []table {
	return []table{{
		"customers_customers",
		[]string{"id", "status", "email", "email_key", "name", "name_key", "meta", "version", "created", "updated"},
		customers,
		func(i int) []any {
			name := fmt.Sprintf("%s %d", names[i%len(names)], i)
			email := fmt.Sprintf("%s.%d@example.com", strings.ToLower(names[i%len(names)]), i)
			at := madeAt(i).UnixMicro()
			return []any{idOf(i), "active", email, email, name, strings.ToLower(name), "{}", int64(1), at, at}
		},
	}, {
		"customers_keys",
		[]string{"id", "customer_id", "hash", "prefix", "scopes", "description", "created", "expires", "revoked"},
		customers * keysOfEach,
		func(i int) []any {
			customer, key := i/keysOfEach, i%keysOfEach
			sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
			hash := base64.RawURLEncoding.EncodeToString(sum[:])
			return []any{
				uuidOf(customer, key+1), idOf(customer), hash, "mk_" + hash[:8], "*", "", madeAt(customer).UnixMicro(), int64(0), int64(0),
			}
		},
	}}
}

func madeAt(customer int) time.Time {
	return firstSecond.Add(time.Duration(customer) * time.Millisecond)
}

// idOf is the id of a customer by their number: ids are in the order of numbers.
func idOf(customer int) string { return uuidOf(customer, 0) }

// uuidOf is a UUID of version 7 of the time that a customer was made at.
func uuidOf(customer, number int) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(madeAt(customer).UnixMilli())<<16)
	id[6], id[8], id[15] = 0x70, 0x80, byte(number)
	return id.String()
}

// progress shows on standard error how far it is.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "customers: "+format+"\n", args...) }

// timed says how long something takes.
func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// seed makes the customers of a new source and their keys.
func (s source) seed(ctx context.Context) error {
	c, err := s.open()
	if err != nil {
		return err
	}
	if c.db.Dialect() == database.PostgreSQL {
		return errors.Join(c.db.Close(), s.copy(ctx))
	}
	return errors.Join(c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		for _, t := range tables(s.customers) {
			for from, to := range database.Chunks(t.rows) {
				var args []any
				for i := from; i < to; i++ {
					args = append(args, t.row(i)...)
				}
				if _, err := tx.Exec(ctx, `INSERT INTO `+t.name+` (`+strings.Join(t.columns, ", ")+`) VALUES `+
					database.Values(to-from, len(t.columns)), args...); err != nil {
					return err
				}
			}
		}
		return nil
	}), c.db.Close())
}

// copy copies the rows into PostgreSQL without their indexes, which are made after: that is several times as fast. As each key is
// known to have its customer, that is not checked, for which the user has to be a superuser.
func (s source) copy(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, s.address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, `SET session_replication_role = replica; SET maintenance_work_mem = '256MB'`); err != nil {
		return err
	}
	for _, t := range tables(s.customers) {
		indexes, err := dropIndexes(ctx, conn, t.name)
		if err != nil {
			return err
		}
		copied, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromSlice(t.rows, func(i int) ([]any, error) {
			if i > 0 && i%250_000 == 0 {
				progress("%d of %d rows of %s", i, t.rows, t.name)
			}
			return t.row(i), nil
		}))
		if err != nil {
			return fmt.Errorf("copy row %d of %s: %w", copied, t.name, err)
		}
		for i, index := range indexes {
			if t.rows > few*keysOfEach {
				progress("index %d of %d of %s", i+1, len(indexes), t.name)
			}
			if _, err := conn.Exec(ctx, index); err != nil {
				return err
			}
		}
		if _, err := conn.Exec(ctx, `VACUUM ANALYZE `+t.name); err != nil {
			return err
		}
	}
	return nil
}

// dropIndexes drops the indexes of a table but that of its primary key, and returns what makes them again.
func dropIndexes(ctx context.Context, conn *pgx.Conn, table string) ([]string, error) {
	rows, err := conn.Query(ctx, `
		SELECT indexname, indexdef FROM pg_indexes
		WHERE schemaname = current_schema() AND tablename = $1 AND indexname NOT LIKE '%\_pkey'`, table)
	if err != nil {
		return nil, err
	}
	type index struct{ Name, Definition string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	if err != nil {
		return nil, err
	}
	var definitions []string
	for _, i := range all {
		if _, err := conn.Exec(ctx, `DROP INDEX `+i.Name); err != nil {
			return nil, err
		}
		definitions = append(definitions, i.Definition)
	}
	return definitions, nil
}
