package service

import (
	"context"
	"time"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
)

// Status is what is known of the service.
type Status struct {
	// Destination is where events go: "mixpanel", "stand-in" or "log".
	Destination string
	// Refused is whether Mixpanel takes nothing from us, as far as it was tried last.
	Refused bool
	Topics  map[string]TopicStatus
}

// TopicStatus is what has become of a topic's events.
type TopicStatus struct {
	// Forwarded is how many Mixpanel has, as far as this database knows, Ignored how many were not sent: both as Mixpanel counts,
	// with an event for each request.
	Forwarded, Ignored int64
	// Waiting is how many of the topic's own events were taken in and are tried again, Dead how many were given up.
	Waiting, Dead int64
	// LastEvent is when the newest event happened that was handled, Lag how much later that was. Zero before the first.
	LastEvent time.Time
	Lag       time.Duration
}

// count counts what has become of events.
func (c *Mixpanel) count(ctx context.Context, tx database.Querier, topic string, batch []*events.Event, forwarded, ignored int) error {
	newest := batch[0].Time
	for _, e := range batch {
		if e.Time.After(newest) {
			newest = e.Time
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO mixpanel_topics (topic, forwarded, ignored, last_event, lag) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (topic) DO UPDATE SET
			forwarded = mixpanel_topics.forwarded + excluded.forwarded, ignored = mixpanel_topics.ignored + excluded.ignored,
			lag = CASE WHEN excluded.last_event >= mixpanel_topics.last_event THEN excluded.lag ELSE mixpanel_topics.lag END,
			last_event = CASE WHEN excluded.last_event >= mixpanel_topics.last_event THEN excluded.last_event ELSE mixpanel_topics.last_event END`,
		topic, forwarded, ignored, newest.UnixMicro(), max(0, c.clock().UnixMicro()-newest.UnixMicro()))
	return err
}

// Status returns what has become of the events of each topic that is forwarded.
func (c *Mixpanel) Status(ctx context.Context) (Status, error) {
	status := Status{Destination: c.destination.kind, Refused: c.Check(ctx) != nil, Topics: make(map[string]TopicStatus)}
	for _, topic := range c.topics {
		waiting, dead, err := c.letters.Letters(ctx, topic)
		if err != nil {
			return Status{}, err
		}
		status.Topics[topic] = TopicStatus{Waiting: waiting, Dead: dead}
	}
	rows, err := c.db.Read().Query(ctx, `SELECT topic, forwarded, ignored, last_event, lag FROM mixpanel_topics`)
	if err != nil {
		return Status{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var topic string
		var forwarded, ignored, last, lag int64
		if err := rows.Scan(&topic, &forwarded, &ignored, &last, &lag); err != nil {
			return Status{}, err
		}
		t, ok := status.Topics[topic]
		if !ok {
			continue // it is forwarded no more
		}
		t.Forwarded, t.Ignored, t.LastEvent, t.Lag = forwarded, ignored, time.UnixMicro(last).UTC(), time.Duration(lag)*time.Microsecond
		status.Topics[topic] = t
	}
	return status, rows.Err()
}
