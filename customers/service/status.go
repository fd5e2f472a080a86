package service

import (
	"context"
	"strings"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// call is what moves a customer from one status to another.
type call string

const (
	markVerified call = "MarkVerified"
	activate     call = "Activate"
	ban          call = "Ban"
	unban        call = "Unban"
	remove       call = "Delete"
	undelete     call = "Undelete"
)

// What a customer had before the ban, and before the deletion, stands for whatever that was.
const (
	asBeforeBan    Status = "as before the ban"
	asBeforeDelete Status = "as before the deletion"
)

// undoableFor is how long a deletion can be undone.
const undoableFor = 30 * 24 * time.Hour

// transition is what a call makes of a customer of one status. Where that is the same status nothing changes, the version
// neither, so that the call may be made again.
type transition struct {
	call  call
	from  Status
	to    Status
	event func(reason string) *customersevents.Event
}

// transitions are all there are; what is not among them is refused. Besides, an admin can give a customer any status but
// Inactive with Update.
var transitions = []transition{
	{markVerified, AwaitingVerification, Verified, verified},
	{markVerified, Verified, Verified, nil},
	{markVerified, Active, Active, nil},

	{activate, Verified, Active, signup},
	{activate, Active, Active, nil},

	{ban, AwaitingVerification, Banned, banned},
	{ban, Verified, Banned, banned},
	{ban, Active, Banned, banned},
	{ban, Banned, Banned, nil},

	{unban, Banned, asBeforeBan, unbanned},
	{unban, AwaitingVerification, AwaitingVerification, nil},
	{unban, Verified, Verified, nil},
	{unban, Active, Active, nil},
	{unban, Inactive, Inactive, nil},

	{remove, AwaitingVerification, Inactive, deleted},
	{remove, Verified, Inactive, deleted},
	{remove, Active, Inactive, deleted},
	{remove, Banned, Inactive, deleted},
	{remove, Inactive, Inactive, nil},

	{undelete, Inactive, asBeforeDelete, undeleted},
	{undelete, AwaitingVerification, AwaitingVerification, nil},
	{undelete, Verified, Verified, nil},
	{undelete, Active, Active, nil},
	{undelete, Banned, Banned, nil},
}

// transitionOf finds what a call makes of a customer of a status; a conflict if it makes nothing of it.
func transitionOf(c call, from Status) (transition, error) {
	var possible []string
	for _, t := range transitions {
		if t.call == c && t.from == from {
			return t, nil
		}
		if t.call == c {
			possible = append(possible, string(t.from))
		}
	}
	return transition{}, errors.Conflict("status", "is %s, and %s is for customers who are %s",
		from, c, strings.Join(possible, " or "))
}

// in is the customer with another status. A deletion keeps what there was before, and so does a ban, also through the deletion
// of a banned customer.
func (c Customer) in(s Status) Customer {
	if s != c.Status {
		c.beforeDelete = ""
		if s == Inactive {
			c.beforeDelete = c.Status
		}
	}
	switch {
	case s == c.Status, s == Inactive:
	case s != Banned:
		c.beforeBan = ""
	case c.Status != Inactive || c.beforeBan == "":
		c.beforeBan = c.Status
	}
	c.Status = s
	return c
}

// released is a banned customer without the ban.
func (c Customer) released() Customer {
	before := c.beforeBan
	if before == "" {
		before = AwaitingVerification // banned by a version that did not keep it
	}
	c.Status, c.beforeBan = before, ""
	return c
}

// restored is a deleted customer who is not deleted any more.
func (c Customer) restored() Customer {
	before := c.beforeDelete
	switch {
	case before != "":
	case c.beforeBan != "": // deleted by a version that did not keep it
		before = Banned
	default:
		before = AwaitingVerification
	}
	c.Status, c.beforeDelete = before, ""
	return c
}

// mayLogIn tells whether an account of a customer of the status, if there is one, may be logged in to. One that signup has
// just made, of somebody verified, is not blocked: nobody is told of its customer until Activate.
func (s Status) mayLogIn() bool { return s == Active }

// move moves a customer to where a call leads. The reason is for the event.
func (c *Customers) move(ctx context.Context, ref Ref, by call, reason string) (Customer, error) {
	column, key, err := ref.key()
	if err != nil {
		return Customer{}, err
	}
	var result Customer
	var due unsettled
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		customer, err := find(ctx, tx, column, key, "FOR UPDATE")
		if err != nil {
			return err
		}
		t, err := transitionOf(by, customer.Status)
		if err != nil {
			return err
		}
		if result, err = c.carryOut(ctx, tx, customer, t, reason); err != nil {
			return err
		}
		due = unsettled{}
		if by == markVerified {
			return nil // makes nobody active, and nobody another thing who was
		}
		due, err = c.oweAccount(ctx, tx, customer.ID)
		return err
	})
	if err != nil {
		return Customer{}, err
	}
	return result, c.settleAccount(ctx, due)
}

func (c *Customers) carryOut(ctx context.Context, tx database.Querier, customer Customer, t transition, reason string) (Customer, error) {
	switch {
	case t.to == t.from:
		return customer, nil
	case customer.erased():
		return Customer{}, errErased()
	}
	switch t.to {
	case asBeforeBan:
		customer = customer.released()
	case asBeforeDelete:
		if !c.now().Before(customer.Updated.Add(undoableFor)) {
			return Customer{}, errors.Conflict("status", "is inactive for more than 30 days, which cannot be undone")
		}
		customer = customer.restored()
	default:
		customer = customer.in(t.to)
	}
	customer.Updated = c.now()
	customer.Version++
	if err := update(ctx, tx, customer); err != nil {
		return Customer{}, err
	}
	return customer, c.publish(ctx, tx, customer, t.event(reason))
}

// MarkVerified says that a customer's address is proven.
func (c *Customers) MarkVerified(ctx context.Context, ref Ref) (Customer, error) {
	return c.move(ctx, ref, markVerified, "")
}

// Activate says that a customer has chosen a password, which completes the signup. When it returns without an error, the customer
// can log in. Errors are as those of Ban.
func (c *Customers) Activate(ctx context.Context, id string) (Customer, error) {
	if id == "" {
		return Customer{}, errors.Invalid("id", "required")
	}
	return c.move(ctx, Ref{ID: id}, activate, "")
}

// Ban takes sessions, log-ins and keys away from a customer. The reason is for those who look after customers. When the
// customer is banned but the auth service cannot be told, the error has the kind Unavailable: the call can be made again, and
// Reconcile tells it in any case.
func (c *Customers) Ban(ctx context.Context, ref Ref, reason string) (Customer, error) {
	if err := checkText("reason", reason, maxReason); err != nil {
		return Customer{}, err
	}
	return c.move(ctx, ref, ban, reason)
}

// Unban gives a banned customer back what they were. Errors are as those of Ban.
func (c *Customers) Unban(ctx context.Context, ref Ref) (Customer, error) {
	return c.move(ctx, ref, unban, "")
}

// Delete gives a customer the status Inactive. A customer that has it already is left as it is. Errors are as those of Ban.
func (c *Customers) Delete(ctx context.Context, ref Ref) error {
	_, err := c.move(ctx, ref, remove, "")
	return err
}

// Undelete gives a deleted customer back what they were, within 30 days. Errors are as those of Ban.
func (c *Customers) Undelete(ctx context.Context, id string) (Customer, error) {
	if id == "" {
		return Customer{}, errors.Invalid("id", "required")
	}
	return c.move(ctx, Ref{ID: id}, undelete, "")
}
