package service

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/m3o/backend/pkg/errors"
)

const (
	defaultPage = 25
	maxPage     = 100
	maxQuery    = 256 // characters
	// afterAll is higher than every character that a name or an address has, so that texts with a prefix are those from
	// the prefix up to the prefix and this.
	afterAll = "\U0010FFFF"
	// afterText, behind a text, is lower than every other text that begins with it, since none has control characters.
	afterText = "\x01"
	// scanned is how many rows, for each customer of a page, the search by name looks at, because it leaves out those
	// that the search by address has found. A page may thus be short, and its cost never depends on where it is.
	scanned = 4
)

// ListQuery asks for one page.
type ListQuery struct {
	Size   int    // 1 to 100; 0 is 25
	Token  string // Page.Next of the page before; empty for the first
	Status Status // empty for all
	Prefix string // of the address or of the name, in any case; empty for all
}

// Page is a page of customers.
type Page struct {
	Customers []Customer
	// Next is the token of the next page; empty on the last one.
	Next string
}

// List returns a page of customers: in the order of creation when there is no prefix; else those whose address begins with
// it, in the order of addresses, and then the others whose name does, in the order of names. A customer that is there
// from the first page to the last, and whose address and name do not change meanwhile, is on exactly one page. In the
// search by prefix a page may be short, even empty, and yet have a next one.
func (c *Customers) List(ctx context.Context, q ListQuery) (Page, error) {
	at, err := q.check()
	if err != nil {
		return Page{}, err
	}
	if at.Phase == byCreation {
		return c.listByCreation(ctx, q, at)
	}
	var page Page
	if at.Phase == byAddress {
		found, err := c.selectPage(ctx, q, q.Size+1, nextByAddress, at.Key, q.Prefix+afterAll)
		if err != nil {
			return Page{}, err
		}
		if len(found) > q.Size {
			found = found[:q.Size]
			page.Next = position{Phase: byAddress, Key: strings.ToLower(found[q.Size-1].Email) + afterText}.token(q)
			page.Customers = found
			return page, nil
		}
		page.Customers = found
		at = position{Phase: byName, Key: q.Prefix}
		if len(found) == q.Size {
			page.Next = at.token(q)
			return page, nil
		}
	}
	return c.listByName(ctx, q, at, page)
}

func (c *Customers) listByCreation(ctx context.Context, q ListQuery, at position) (Page, error) {
	found, err := c.selectPage(ctx, q, q.Size+1, nextByCreation, at.ID)
	if err != nil {
		return Page{}, err
	}
	page := Page{Customers: found}
	if len(found) > q.Size {
		page.Customers = found[:q.Size]
		page.Next = position{Phase: byCreation, ID: found[q.Size-1].ID}.token(q)
	}
	return page, nil
}

// listByName adds to a page, which has space for at least one more, those that are found by name alone.
func (c *Customers) listByName(ctx context.Context, q ListQuery, at position, page Page) (Page, error) {
	limit := scanned * q.Size
	found, err := c.selectPage(ctx, q, limit, nextByName, at.Key, at.ID, q.Prefix+afterAll)
	if err != nil {
		return Page{}, err
	}
	for i, customer := range found {
		if strings.HasPrefix(strings.ToLower(customer.Email), q.Prefix) {
			continue // it was on a page before
		}
		page.Customers = append(page.Customers, customer)
		if len(page.Customers) == q.Size && (i < len(found)-1 || len(found) == limit) {
			page.Next = position{Phase: byName, Key: strings.ToLower(customer.Name), ID: customer.ID}.token(q)
			return page, nil
		}
	}
	if len(found) == limit {
		last := found[limit-1]
		page.Next = position{Phase: byName, Key: strings.ToLower(last.Name), ID: last.ID}.token(q)
	}
	return page, nil
}

// next is the part of a query that finds what follows a position in one order.
type next struct{ where, order string }

// What follows in each phase. There is an index for each, with the status before it and without. Each has one lower bound:
// given two, SQLite may begin with the one that all pages share, and read all pages before on the way to a page.
var (
	nextByCreation = next{`id > $1`, `id`}
	nextByAddress  = next{`email_key >= $1 AND email_key < $2`, `email_key`}
	nextByName     = next{`(name_key, id) > ($1, $2) AND name_key < $3`, `name_key, id`}
)

// query makes a query with its arguments, of which args are the first.
func (n next) query(status Status, limit int, args []any) (string, []any) {
	where := n.where
	if status != "" {
		args = append(args, status)
		where = fmt.Sprintf("status = $%d AND %s", len(args), where)
	}
	args = append(args, limit)
	return fmt.Sprintf("SELECT %s FROM customers_customers WHERE %s ORDER BY %s LIMIT $%d", columns, where, n.order, len(args)), args
}

func (c *Customers) selectPage(ctx context.Context, q ListQuery, limit int, n next, args ...any) ([]Customer, error) {
	query, args := n.query(q.Status, limit, args)
	return list(ctx, c.db.Read(), query, args...)
}

// check checks a query, sets what it leaves open, and returns where its page begins.
func (q *ListQuery) check() (position, error) {
	if q.Size < 0 || q.Size > maxPage {
		return position{}, errors.Invalid("page_size", "must be from 1 to %d, or 0 for %d", maxPage, defaultPage)
	}
	if q.Size == 0 {
		q.Size = defaultPage
	}
	if q.Status != "" {
		if err := checkStatus("status", q.Status); err != nil {
			return position{}, err
		}
	}
	if utf8.RuneCountInString(q.Prefix) > maxQuery {
		return position{}, errors.Invalid("query", "must have at most %d characters", maxQuery)
	}
	if _, err := checkName("query", q.Prefix); err != nil {
		return position{}, err
	}
	q.Prefix = strings.ToLower(strings.TrimLeft(q.Prefix, " "))
	if q.Token == "" {
		if q.Prefix == "" {
			return position{Phase: byCreation}, nil
		}
		return position{Phase: byAddress, Key: q.Prefix}, nil
	}
	return parseToken("page_token", q.Token, *q)
}
