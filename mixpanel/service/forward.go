package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
)

// Forward sends events of a topic to where they go, and counts them in tx. What Mixpanel has when it fails afterwards is sent
// again, and counts there once. An error is permanent if it is the fault of one of the events; else nothing but time helps.
//
// The transaction is open while Mixpanel is waited for: with SQLite other topics wait as well, for sendTimeout at most.
func (c *Mixpanel) Forward(ctx context.Context, tx database.Querier, topic string, batch []*events.Event) error {
	if err := c.known(batch); err != nil {
		return err
	}
	var toSend []record
	forwarded, ignored := 0, 0
	for i, e := range batch {
		made, err := records(e, i)
		switch {
		case err != nil:
			return err
		case c.ignored[nameOf(e)]:
			ignored += len(made)
		case c.sender == nil:
			ignored += len(made)
			c.log.InfoContext(ctx, "would forward", "event", nameOf(e), "id", e.ID.String(), "time", e.Time.UTC().Format(time.RFC3339Nano))
		case c.verdicts.accepted(e.ID): // it is there, of an attempt that others have spoilt
			forwarded += len(made)
		default:
			forwarded += len(made)
			toSend = append(toSend, made...)
		}
	}
	if len(toSend) > 0 {
		refused, err := c.sender.send(ctx, toSend)
		if err != nil {
			return err
		}
		if len(refused) > 0 {
			return c.blame(batch, toSend, refused)
		}
	}
	if err := c.count(ctx, tx, topic, batch, forwarded, ignored); err != nil {
		return err
	}
	database.AfterCommit(ctx, func() {
		c.verdicts.forget(batch)
		c.metrics.events.WithLabelValues(topic, "forwarded").Add(float64(forwarded))
		c.metrics.events.WithLabelValues(topic, "ignored").Add(float64(ignored))
	})
	return nil
}

// refusal is why Mixpanel does not take a record.
type refusal struct {
	// record is its place among those that were sent, field what is wrong with it; a name that Mixpanel gives.
	record int
	field  string
}

func (r refusal) err() error {
	return errors.Invalid("", "Mixpanel refuses %s of it", r.field)
}

// blame remembers which events of a batch were refused, and which were taken, so that neither is sent again while it is
// found out by halves whose fault it was that the batch failed.
func (c *Mixpanel) blame(batch []*events.Event, sent []record, refused []refusal) error {
	fields := make(map[int]string)
	for _, r := range refused {
		fields[sent[r.record].of] = r.field
	}
	for of := range fields {
		c.metrics.events.WithLabelValues(batch[of].Topic, "refused").Inc()
	}
	if len(batch) == 1 {
		return refusal{field: fields[0]}.err() // and if it is replayed it is sent
	}
	for i, e := range batch {
		c.verdicts.set(e.ID, fields[i])
	}
	return errors.Invalid("", "Mixpanel refuses some of %d events", len(batch))
}

// known returns the error of a batch of which it is known that some of it was refused.
func (c *Mixpanel) known(batch []*events.Event) error {
	for _, e := range batch {
		if field := c.verdicts.refused(e.ID); field != "" {
			if len(batch) == 1 {
				c.verdicts.forget(batch)
			}
			return refusal{field: field}.err()
		}
	}
	return nil
}
