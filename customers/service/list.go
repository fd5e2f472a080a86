package service

import (
	"context"
	"fmt"
	"math"
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
	// scanned is how many rows, for each customer of a page, a search looks at that leaves some out: those that the search
	// by address has found before the one by name, or that were not created in the time that is asked for. A page may thus be
	// short, and its cost never depends on where it is.
	scanned = 4
	maxTime = 253402300799 // the last second of the year 9999
)

// ListQuery asks for one page.
type ListQuery struct {
	Size   int    // 1 to 100; 0 is 25
	Token  string // Page.Next of the page before; empty for the first
	Status Status // empty for all
	Prefix string // of the address or of the name, in any case; empty for all
	// From and To are when the customers were created, in seconds since 1970: from the one on and before the other; 0 for any.
	From, To int64
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
		var done bool
		if page, done, err = c.listByAddress(ctx, q, at); err != nil || done {
			return page, err
		}
		at = position{Phase: byName, Key: q.Prefix}
		if len(page.Customers) == q.Size {
			page.Next = at.token(q)
			return page, nil
		}
	}
	return c.listByName(ctx, q, at, page)
}

func (c *Customers) listByCreation(ctx context.Context, q ListQuery, at position) (Page, error) {
	found, err := c.selectPage(ctx, q, q.Size+1, nextByCreation, at.Created, at.ID, q.before())
	if err != nil {
		return Page{}, err
	}
	page := Page{Customers: found}
	if len(found) > q.Size {
		page.Customers = found[:q.Size]
		last := found[q.Size-1]
		page.Next = position{Phase: byCreation, Created: last.Created.UnixMicro(), ID: last.ID}.token(q)
	}
	return page, nil
}

// listByAddress makes a page of those that are found by address, and tells whether there are more of them.
func (c *Customers) listByAddress(ctx context.Context, q ListQuery, at position) (page Page, more bool, err error) {
	limit := q.Size + 1
	if q.From != 0 || q.To != 0 {
		limit = scanned * q.Size
	}
	found, err := c.selectPage(ctx, q, limit, nextByAddress, at.Key, q.Prefix+afterAll)
	if err != nil {
		return Page{}, false, err
	}
	for i, customer := range found {
		if q.covers(customer) {
			page.Customers = append(page.Customers, customer)
		}
		full := len(page.Customers) == q.Size && i < len(found)-1
		if full || i == limit-1 {
			page.Next = position{Phase: byAddress, Key: strings.ToLower(customer.Email) + afterText}.token(q)
			return page, true, nil
		}
	}
	return page, false, nil
}

// listByName adds to a page, which has space for at least one more, those that are found by name alone.
func (c *Customers) listByName(ctx context.Context, q ListQuery, at position, page Page) (Page, error) {
	limit := scanned * q.Size
	found, err := c.selectPage(ctx, q, limit, nextByName, at.Key, at.ID, q.Prefix+afterAll)
	if err != nil {
		return Page{}, err
	}
	for i, customer := range found {
		if strings.HasPrefix(strings.ToLower(customer.Email), q.Prefix) || !q.covers(customer) {
			continue // it was on a page before, or is to be on none
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

// since and before are the time that a query asks for, in microseconds since 1970.
func (q ListQuery) since() int64 { return q.From * 1_000_000 }

func (q ListQuery) before() int64 {
	if q.To == 0 {
		return math.MaxInt64
	}
	return q.To * 1_000_000
}

// covers tells whether a customer was created in the time that is asked for.
func (q ListQuery) covers(c Customer) bool {
	created := c.Created.UnixMicro()
	return created >= q.since() && created < q.before()
}

// next is the part of a query that finds what follows a position in one order.
type next struct{ where, order string }

// What follows in each phase. There is an index for each, with the status before it and without. Each has one lower bound:
// given two, SQLite may begin with the one that all pages share, and read all pages before on the way to a page.
var (
	nextByCreation = next{`(created, id) > ($1, $2) AND created < $3`, `created, id`}
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
	if err := q.checkTime(); err != nil {
		return position{}, err
	}
	if q.Token == "" {
		if q.Prefix == "" {
			return position{Phase: byCreation, Created: q.since()}, nil
		}
		return position{Phase: byAddress, Key: q.Prefix}, nil
	}
	return parseToken("page_token", q.Token, *q)
}

func (q ListQuery) checkTime() error {
	for _, bound := range []struct {
		field string
		at    int64
	}{{"created_from", q.From}, {"created_to", q.To}} {
		if bound.at < 0 || bound.at > maxTime {
			return errors.Invalid(bound.field, "must be in seconds since 1970, in the year 9999 at the latest, or 0 for any time")
		}
	}
	if q.To != 0 && q.To <= q.From {
		return errors.Invalid("created_to", "must be later than created_from")
	}
	return nil
}
