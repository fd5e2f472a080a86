package service

import (
	"context"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// Change says what to change of a customer. A field that is nil stays as it is.
type Change struct {
	ID string
	// Version is the version that the customer must be of to be changed; 0 is any.
	Version int64
	Name    *string
	// Meta replaces the whole of it.
	Meta  *map[string]string
	Email *string
	// Status can be any but Inactive, which Delete gives. It brings a deleted customer back.
	Status *Status
}

// Update changes a customer. When nothing would change, nothing does, the version included. A call that is made again
// with the version that it was first made with succeeds if nobody else has changed the customer meanwhile. With a status,
// errors are as those of Ban.
func (c *Customers) Update(ctx context.Context, change Change) (Customer, error) {
	id, err := parseID("id", change.ID)
	if err != nil {
		return Customer{}, err
	}
	if change.Version < 0 {
		return Customer{}, errors.Invalid("version", "must not be negative")
	}
	apply, err := change.check()
	if err != nil {
		return Customer{}, err
	}
	var result Customer
	var due unsettled
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		before, err := find(ctx, tx, "id", id, "FOR UPDATE")
		if err != nil {
			return err
		}
		if before.erased() {
			return errErased()
		}
		after := apply(before)
		fields := changed(before, after)
		same := len(fields) == 0
		repeated := same && before.Version == change.Version+1
		if change.Version != 0 && change.Version != before.Version && !repeated {
			return errors.Conflict("version", "the customer is of version %d now: read it and decide again", before.Version)
		}
		if after.Status == Inactive {
			return errors.Conflict("status", "the customer is deleted: give it another status in the same update")
		}
		result, due = before, unsettled{}
		if change.Status != nil {
			if due, err = c.oweAccount(ctx, tx, id); err != nil {
				return err
			}
		}
		if same {
			return nil
		}
		after.Version++
		after.Updated = c.now()
		result = after
		if err := update(ctx, tx, after); err != nil {
			return err
		}
		return c.publish(ctx, tx, after, updated(fields))
	})
	if err != nil {
		return Customer{}, err
	}
	return result, c.settleAccount(ctx, due)
}

// check checks the new values, and returns what makes a changed customer of one.
func (c Change) check() (func(Customer) Customer, error) {
	var name string
	var meta map[string]string
	var email address
	var err error
	if c.Name != nil {
		if name, err = checkName("name", *c.Name); err != nil {
			return nil, err
		}
	}
	if c.Meta != nil {
		if meta, err = checkMeta("meta", *c.Meta); err != nil {
			return nil, err
		}
	}
	if c.Email != nil {
		if email, err = parseAddress("email", *c.Email); err != nil {
			return nil, err
		}
	}
	if c.Status != nil {
		if err := checkStatus("status", *c.Status); err != nil {
			return nil, err
		}
		if *c.Status == Inactive {
			return nil, errors.Invalid("status", "must not be %s: use Delete", Inactive)
		}
	}
	return func(customer Customer) Customer {
		if c.Name != nil {
			customer.Name = name
		}
		if c.Meta != nil {
			customer.Meta = meta
		}
		if c.Email != nil {
			customer.Email = email.text
		}
		if c.Status != nil {
			customer = customer.in(*c.Status)
		}
		return customer
	}, nil
}
