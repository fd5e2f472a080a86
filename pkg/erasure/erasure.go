package erasure

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
	erasuresevents "github.com/m3o/backend/pkg/events/proto/erasures"
)

// Customer is who is to be erased: by which a service finds what it has.
type Customer struct {
	ID    string // a UUID, in lower case
	Email string // may be empty
}

// Erase erases what a service has of a customer, in a transaction of the caller's and without asking anybody else. It returns
// false when something is left to do, after which the service calls Done.
type Erase func(ctx context.Context, tx database.Querier, c Customer) (done bool, err error)

// Bus is what is needed of an events.Bus.
type Bus interface {
	Add(ctx context.Context, tx database.Querier, drafts ...events.Draft) error
	Forget(ctx context.Context, tx database.Querier, aggregate string) error
}

// Config is what New needs.
type Config struct {
	// DB is the service's database. The table of those who are erased is made in it.
	DB *database.DB
	// Bus publishes the reports and knows the letters.
	Bus Bus
	// Erase erases what the service has.
	Erase Erase
	// Clock tells the time; time.Now when nil.
	Clock func() time.Time
}

// Validate returns an error that says what is missing.
func (c Config) Validate() error {
	switch {
	case c.DB == nil:
		return errors.New("erasure: a database is missing")
	case c.Bus == nil:
		return errors.New("erasure: a bus is missing")
	case c.Erase == nil:
		return errors.New("erasure: what erases is missing")
	}
	return nil
}

//go:embed migrations/*.sql
var embedded embed.FS

// Erasure erases customers in one service. It is safe for concurrent use.
type Erasure struct {
	config Config
	table  string
}

// New returns the erasure of a service, in whose database it makes its table.
func New(ctx context.Context, cfg Config) (*Erasure, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	migrations, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, err
	}
	if err := cfg.DB.Extend(ctx, "erasure", migrations); err != nil {
		return nil, err
	}
	return &Erasure{config: cfg, table: cfg.DB.Name() + "_erased"}, nil
}

// Guard makes of a consumer of topic customers one that erases those who are to be erased, and is given no events of anybody who
// is erased. Where nothing else is done with the topic, it has no handler.
func (e *Erasure) Guard(c events.Consumer) events.Consumer {
	inner := c.Handle
	c.Topic = customersevents.Topic
	c.Handle = func(ctx context.Context, tx database.Querier, batch []*events.Event) error {
		about := make([]notice, len(batch))
		ids := make([]string, 0, len(batch))
		for i, event := range batch {
			if about[i] = read(event); about[i].Customer.ID != "" {
				ids = append(ids, about[i].Customer.ID)
			}
		}
		gone, err := e.Erased(ctx, tx, ids...)
		if err != nil {
			return err
		}
		var due []Customer
		for _, n := range about {
			if n.isErasure() && !gone[n.Customer.ID] {
				gone[n.Customer.ID] = true
				due = append(due, Customer{ID: n.Customer.ID, Email: n.Customer.Email})
			}
		}
		if err := handOn(ctx, tx, inner, batch, about, gone); err != nil {
			return err
		}
		for _, c := range due {
			if err := e.erase(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// handOn has those events handled that are of customers who are still there, or of nobody.
func handOn(
	ctx context.Context, tx database.Querier, inner events.Handler, batch []*events.Event, about []notice, gone map[string]bool,
) error {
	kept := make([]*events.Event, 0, len(batch))
	for i, event := range batch {
		if !gone[about[i].Customer.ID] {
			kept = append(kept, event)
		}
	}
	if inner == nil || len(kept) == 0 {
		return nil
	}
	return inner(ctx, tx, kept)
}

// erase erases a customer, once.
func (e *Erasure) erase(ctx context.Context, tx database.Querier, c Customer) error {
	_, err := tx.Exec(ctx, `INSERT INTO `+e.table+` (customer_id, erased) VALUES ($1, $2) ON CONFLICT (customer_id) DO NOTHING`,
		c.ID, e.config.Clock().UnixMicro())
	if err != nil {
		return fmt.Errorf("remember who is erased: %w", err)
	}
	if err := e.config.Bus.Forget(ctx, tx, c.ID); err != nil {
		return err
	}
	done, err := e.config.Erase(ctx, tx, c)
	if err != nil || !done {
		return err
	}
	return e.Done(ctx, tx, c.ID)
}

// Done reports, in a transaction of the caller's, that nothing is left of a customer in the service.
func (e *Erasure) Done(ctx context.Context, tx database.Querier, customerID string) error {
	return e.config.Bus.Add(ctx, tx, events.Draft{Topic: erasuresevents.Topic, Message: &erasuresevents.Event{
		Type: erasuresevents.EventType_EventTypeErased, CustomerId: customerID, Service: e.config.DB.Name(),
	}})
}

// Erased tells which of some customers are erased.
func (e *Erasure) Erased(ctx context.Context, q database.Reader, customerIDs ...string) (map[string]bool, error) {
	erased := make(map[string]bool)
	for from, to := range database.Chunks(len(customerIDs)) {
		args := make([]any, 0, to-from)
		for _, id := range customerIDs[from:to] {
			args = append(args, id)
		}
		err := database.EachRow(ctx, q, func(row *sql.Rows) error {
			var id string
			err := row.Scan(&id)
			erased[id] = true
			return err
		}, `SELECT customer_id FROM `+e.table+` WHERE customer_id IN `+database.Values(1, to-from), args...)
		if err != nil {
			return nil, fmt.Errorf("look who is erased: %w", err)
		}
	}
	return erased, nil
}

// Sweep forgets those of whom nothing comes late any more.
func (e *Erasure) Sweep(ctx context.Context) error {
	return e.config.DB.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `DELETE FROM `+e.table+` WHERE erased < $1`, e.config.Clock().Add(-events.InboxRetention).UnixMicro())
		return err
	})
}

// notice is what is read of an event of topic customers: no more than has to be there, as whoever consumes may take in events of
// a shape that is newer than this binary.
type notice struct {
	Type     string `json:"type"`
	Customer struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	} `json:"customer"`
	Deleted struct {
		Erased bool `json:"erased"`
	} `json:"deleted"`
}

// read reads an event; one that is not about a customer with a good id is a notice of nothing.
func read(e *events.Event) notice {
	var n notice
	if err := json.Unmarshal(e.Payload, &n); err != nil {
		return notice{}
	}
	id, err := uuid.Parse(n.Customer.ID)
	if err != nil || id.String() != n.Customer.ID {
		return notice{}
	}
	return n
}

func (n notice) isErasure() bool {
	return n.Type == customersevents.EventType_EventTypeDeleted.String() && n.Deleted.Erased
}
