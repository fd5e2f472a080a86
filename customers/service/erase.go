package service

import (
	"context"
	"database/sql"
	stderrors "errors"
	"fmt"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

const (
	// eraseAfter is how long a deleted customer is kept: as long as that can be undone.
	eraseAfter = undoableFor
	// erasureDue is how long a service has to erase a customer.
	erasureDue = 24 * time.Hour
	// erasedAtOnce is how many customers are seen to in one go.
	erasedAtOnce = 100
	// us and theAuthService are who erases without being told by an event: the one in the same transaction, the other by a call.
	us, theAuthService = "customers", "auth"
)

// erasers are all who have something of customers.
var erasers = []string{theAuthService, "billing", us, "mixpanel", "signup", "usage"}

// erased tells whether only the id is left of a customer.
func (c Customer) erased() bool { return c.Email == "" }

func errErased() error {
	return errors.Conflict("id", "the customer is erased, which cannot be undone")
}

// Erasure is what a service has done of the erasure of a customer.
type Erasure struct {
	Service   string
	Requested time.Time
	Erased    time.Time // zero when it has not
	Overdue   bool
}

// Erase erases a customer: here at once, and wherever else there is something of them after that, of which ReadErasure tells.
// What stays here is the id, with the status Inactive; the address is free for somebody new. It cannot be undone. Of one who is
// erased it changes nothing. Errors are as those of Ban.
func (c *Customers) Erase(ctx context.Context, ref Ref) error {
	column, key, err := ref.key()
	if err != nil {
		return err
	}
	var due unsettled
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := find(ctx, tx, column, key, "FOR UPDATE")
		if err != nil {
			return err
		}
		if due, err = c.oweAccount(ctx, tx, customer.ID); err != nil || customer.erased() {
			return err
		}
		return c.erase(ctx, tx, customer)
	})
	if err != nil {
		return err
	}
	return c.settleAccount(ctx, due)
}

// erase makes a tombstone of a customer, and tells everybody.
func (c *Customers) erase(ctx context.Context, tx database.Querier, customer Customer) error {
	now := c.now()
	if _, err := tx.Exec(ctx, `DELETE FROM customers_keys WHERE customer_id = $1`, customer.ID); err != nil {
		return fmt.Errorf("erase the keys of a customer: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM customers_email_changes WHERE customer_id = $1`, customer.ID); err != nil {
		return fmt.Errorf("erase a change of the address: %w", err)
	}
	// The key of the address has to be unique, and must be none that an address has.
	_, err := tx.Exec(ctx, `
		UPDATE customers_customers
		SET status = $2, email = '', email_key = ' ' || id, name = '', name_key = '', meta = '{}', before_ban = NULL, before_delete = NULL,
			version = $3, updated = $4
		WHERE id = $1`, customer.ID, Inactive, customer.Version+1, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("erase a customer: %w", err)
	}
	for _, service := range erasers {
		var at int64
		if service == us {
			at = now.UnixMicro()
		}
		_, err := tx.Exec(ctx, `INSERT INTO customers_erasures (customer_id, service, requested, erased) VALUES ($1, $2, $3, $4)`,
			customer.ID, service, now.UnixMicro(), at)
		if err != nil {
			return fmt.Errorf("note who is to erase a customer: %w", err)
		}
	}
	// Signup knows people by their addresses alone, so that this last event has it.
	last := Customer{
		ID: customer.ID, Status: Inactive, Email: customer.Email, Created: customer.Created, Updated: now, Version: customer.Version + 1,
	}
	return c.publish(ctx, tx, last, &customersevents.Event{
		Type: customersevents.EventType_EventTypeDeleted, Deleted: &customersevents.Deleted{Erased: true},
	})
}

// ReadErasure tells how far the erasure of a customer is, in the order of the services' names.
func (c *Customers) ReadErasure(ctx context.Context, id string) ([]Erasure, error) {
	if id == "" {
		return nil, errors.Invalid("id", "required")
	}
	id, err := parseID("id", id)
	if err != nil {
		return nil, err
	}
	var all []Erasure
	err = database.EachRow(ctx, c.db.Read(), func(row *sql.Rows) error {
		var e Erasure
		var requested, erased int64
		if err := row.Scan(&e.Service, &requested, &erased); err != nil {
			return err
		}
		e.Requested = time.UnixMicro(requested).UTC()
		if erased != 0 {
			e.Erased = time.UnixMicro(erased).UTC()
		}
		e.Overdue = erased == 0 && c.now().Sub(e.Requested) > erasureDue
		all = append(all, e)
		return nil
	}, `SELECT service, requested, erased FROM customers_erasures WHERE customer_id = $1 ORDER BY service`, id)
	if err != nil {
		return nil, fmt.Errorf("read an erasure: %w", err)
	}
	if len(all) == 0 {
		return nil, errors.NotFound("id", "there is no erased customer of this id")
	}
	return all, nil
}

// NoteErased notes, in a transaction of the caller's, that a service has erased a customer. The first report counts.
func (c *Customers) NoteErased(ctx context.Context, tx database.Querier, customerID, service string) error {
	_, err := tx.Exec(ctx, `UPDATE customers_erasures SET erased = $3 WHERE customer_id = $1 AND service = $2 AND erased = 0`,
		customerID, service, c.now().UnixMicro())
	if err != nil {
		return fmt.Errorf("note an erasure: %w", err)
	}
	return nil
}

// Overdue is how many erasures are overdue, each in one service.
func (c *Customers) Overdue(ctx context.Context) (n int64, err error) {
	err = c.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM customers_erasures WHERE erased = 0 AND requested < $1`,
		c.now().Add(-erasureDue).UnixMicro()).Scan(&n)
	return n, err
}

// DeleteAccounts deletes the accounts of those who are erased, at the auth service. It does when none can appear any more: somebody
// may be about to complete the signup who was seen before. It may run twice at once.
func (c *Customers) DeleteAccounts(ctx context.Context) error {
	ids, err := c.customers(ctx, `
		SELECT customer_id FROM customers_erasures WHERE service = $1 AND erased = 0 AND requested < $2 ORDER BY requested LIMIT $3`,
		theAuthService, c.now().Add(-appearsWithin).UnixMicro(), erasedAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range ids {
		err := c.accounts.Delete(ctx, id)
		if errors.KindOf(err) == errors.KindUnavailable {
			return stderrors.Join(append(failed, err)...) // the others would hear the same
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("delete the account of customer %s: %w", id, err))
			continue
		}
		err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			return c.NoteErased(ctx, tx, id, theAuthService)
		})
		if err != nil {
			return err
		}
	}
	return stderrors.Join(failed...)
}

// EraseDeleted erases those who have been deleted for 30 days. It may run twice at once.
func (c *Customers) EraseDeleted(ctx context.Context) error {
	before := c.now().Add(-eraseAfter)
	for {
		ids, err := c.customers(ctx, `
			SELECT id FROM customers_customers WHERE status = 'inactive' AND email <> '' AND updated <= $1 ORDER BY updated LIMIT $2`,
			before.UnixMicro(), erasedAtOnce)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			err := c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
				customer, err := find(ctx, tx, "id", id, "FOR UPDATE")
				if err != nil || customer.erased() || customer.Status != Inactive || customer.Updated.After(before) {
					return err // somebody was faster
				}
				return c.erase(ctx, tx, customer)
			})
			if err != nil {
				return err
			}
		}
	}
}

// customers are the ids that a query selects.
func (c *Customers) customers(ctx context.Context, query string, args ...any) ([]string, error) {
	var ids []string
	err := database.EachRow(ctx, c.db.Read(), func(row *sql.Rows) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list customers to be erased: %w", err)
	}
	return ids, nil
}
