package service

import (
	"context"
	"database/sql"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// columns are those of a customer, in the order in which scan reads them.
const columns = `id, status, email, name, meta, version, created, updated, before_ban, before_delete`

// insert adds a customer unless there is one of the same address, and says whether it did.
func insert(ctx context.Context, tx database.Querier, c Customer) (bool, error) {
	meta, err := encodeMeta(c.Meta)
	if err != nil {
		return false, err
	}
	result, err := tx.Exec(ctx, `
		INSERT INTO customers_customers (`+columns+`, email_key, name_key)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (email_key) DO NOTHING`,
		c.ID, c.Status, c.Email, c.Name, meta, c.Version, c.Created.UnixMicro(), c.Updated.UnixMicro(), orNull(c.beforeBan),
		orNull(c.beforeDelete), strings.ToLower(c.Email), strings.ToLower(c.Name))
	if err != nil {
		return false, fmt.Errorf("insert a customer: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// update replaces a customer, which has to have been read for that in the same transaction.
func update(ctx context.Context, tx database.Querier, c Customer) error {
	meta, err := encodeMeta(c.Meta)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE customers_customers
		SET status = $2, email = $3, name = $4, meta = $5, version = $6, updated = $7, email_key = $8, name_key = $9,
			before_ban = $10, before_delete = $11
		WHERE id = $1`,
		c.ID, c.Status, c.Email, c.Name, meta, c.Version, c.Updated.UnixMicro(),
		strings.ToLower(c.Email), strings.ToLower(c.Name), orNull(c.beforeBan), orNull(c.beforeDelete))
	if database.IsUnique(err, "email_key") {
		return errors.Conflict("email", "another customer has this address").WithCause(err)
	}
	if err != nil {
		return fmt.Errorf("update a customer: %w", err)
	}
	return nil
}

// find returns the customer that has a value in a unique column. The lock is FOR UPDATE when it is read to be changed.
func find(ctx context.Context, q database.Reader, column, value, lock string) (Customer, error) {
	row := q.QueryRow(ctx, `SELECT `+columns+` FROM customers_customers WHERE `+column+` = $1 `+lock, value)
	c, err := scan(row)
	if stderrors.Is(err, sql.ErrNoRows) {
		return Customer{}, errNoCustomer(column)
	}
	if err != nil {
		return Customer{}, fmt.Errorf("read a customer: %w", err)
	}
	return c, nil
}

// errNoCustomer says that nobody has the value in the field of a request that a unique column stands for.
func errNoCustomer(column string) error {
	field := "id"
	if column == "email_key" {
		field = "email"
	}
	return errors.NotFound(field, "there is no such customer")
}

// findByID is find by the id that a field of the request has.
func findByID(ctx context.Context, q database.Reader, field, id, lock string) (Customer, error) {
	c, err := find(ctx, q, "id", id, lock)
	if errors.KindOf(err) == errors.KindNotFound {
		return Customer{}, errors.NotFound(field, "there is no such customer")
	}
	return c, err
}

// selectEach is the query for the customers that have so many values in a unique column.
func selectEach(column string, values int) string {
	return `SELECT ` + columns + ` FROM customers_customers WHERE ` + column + ` IN ` + database.Values(1, values)
}

// findEach returns the customers that have values in a unique column, by the values.
func findEach(ctx context.Context, q database.Reader, column string, values []string) (map[string]Customer, error) {
	found, err := list(ctx, q, selectEach(column, len(values)), anys(values)...)
	if err != nil {
		return nil, err
	}
	by := make(map[string]Customer, len(found))
	for _, c := range found {
		if column == "email_key" {
			by[strings.ToLower(c.Email)] = c
		} else {
			by[c.ID] = c
		}
	}
	return by, nil
}

// anys are texts as arguments of a query.
func anys(texts []string) []any {
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = text
	}
	return args
}

// list returns the customers that a query selects, in its order.
func list(ctx context.Context, q database.Reader, query string, args ...any) (_ []Customer, err error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	defer rows.Close()
	var customers []Customer
	for rows.Next() {
		c, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list customers: %w", err)
		}
		customers = append(customers, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	return customers, nil
}

func scan(row interface{ Scan(dest ...any) error }) (Customer, error) {
	var c Customer
	var meta string
	var created, updated int64
	var beforeBan, beforeDelete sql.NullString
	err := row.Scan(&c.ID, &c.Status, &c.Email, &c.Name, &meta, &c.Version, &created, &updated, &beforeBan, &beforeDelete)
	if err != nil {
		return Customer{}, err
	}
	c.beforeBan, c.beforeDelete = Status(beforeBan.String), Status(beforeDelete.String)
	c.Created, c.Updated = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
	if err := json.Unmarshal([]byte(meta), &c.Meta); err != nil {
		return Customer{}, fmt.Errorf("the meta of customer %s is damaged", c.ID) // the cause would repeat it
	}
	if len(c.Meta) == 0 {
		c.Meta = nil
	}
	return c, nil
}

// orNull is a status as it is kept where there may be none.
func orNull(s Status) sql.NullString { return sql.NullString{String: string(s), Valid: s != ""} }

func encodeMeta(meta map[string]string) (string, error) {
	if len(meta) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(meta)
	return string(b), err
}
