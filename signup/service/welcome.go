package service

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/logger"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

const (
	// welcomesAtOnce is how many welcomes are read at once, sendersAtOnce how many are sent.
	welcomesAtOnce = 100
	sendersAtOnce  = 8
	// welcomePause is how long is waited after the first attempt that has failed; twice as long each time, up to the most.
	welcomePause     = time.Second
	welcomePauseMost = 10 * time.Minute
)

// welcome is a mail that is still to be sent to somebody who has signed up.
type welcome struct {
	id, email string
	written   time.Time
	attempts  int64
}

// Welcome has a mail sent to somebody who has signed up, once the transaction has committed. It is not sent in it: a mail
// server takes its time, in which nobody else could write to the database. The id is that of the event that says so, and the
// mail's: however often it comes, it is the same mail, to the byte.
func (s *Signup) Welcome(ctx context.Context, tx database.Querier, id, email string, at time.Time) error {
	a, err := address.Parse("customer.email", email)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO signup_welcomes (id, email, written, attempts, due) VALUES ($1, $2, $3, 0, 0) ON CONFLICT (id) DO NOTHING`,
		id, a.Text, at.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep a welcome: %w", err)
	}
	return nil
}

// SendWelcomes sends the welcomes that are due. It is called again and again, by one process; two at once would do no harm but
// that an SMTP server gets some mails twice.
func (s *Signup) SendWelcomes(ctx context.Context) error {
	for {
		due, err := s.dueWelcomes(ctx)
		if err != nil || len(due) == 0 {
			return err
		}
		var settled atomic.Int64
		senders, ctx := errgroup.WithContext(ctx)
		senders.SetLimit(sendersAtOnce)
		for _, w := range due {
			senders.Go(func() error {
				ok, err := s.sendWelcome(ctx, w)
				if ok {
					settled.Add(1)
				}
				return err
			})
		}
		if err := senders.Wait(); err != nil {
			return err
		}
		if settled.Load() == 0 {
			return nil // the server is away: later
		}
	}
}

func (s *Signup) dueWelcomes(ctx context.Context) ([]welcome, error) {
	rows, err := s.db.Read().Query(ctx, `
		SELECT id, email, written, attempts FROM signup_welcomes WHERE due <= $1 ORDER BY due, id LIMIT $2`,
		s.now().UnixMicro(), welcomesAtOnce)
	if err != nil {
		return nil, fmt.Errorf("read the welcomes: %w", err)
	}
	defer rows.Close()
	var due []welcome
	for rows.Next() {
		var w welcome
		var written int64
		if err := rows.Scan(&w.id, &w.email, &written, &w.attempts); err != nil {
			return nil, fmt.Errorf("read the welcomes: %w", err)
		}
		w.written = fromMicro(written)
		due = append(due, w)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the welcomes: %w", err)
	}
	return due, nil
}

// sendWelcome sends one, and tells whether nothing is left to do for it. An attempt that fails in a way that passes is made
// again for as long as it takes.
func (s *Signup) sendWelcome(ctx context.Context, w welcome) (settled bool, err error) {
	m, err := s.render(KindWelcome, content{To: w.email})
	if err != nil {
		return false, err
	}
	m.ID, m.To, m.Date = w.id, w.email, w.written
	err = s.mailer.Send(ctx, m)
	statement, args := `DELETE FROM signup_welcomes WHERE id = $1`, []any{w.id}
	switch {
	case err == nil:
		settled = true
	case ctx.Err() != nil:
		return false, nil // broken off
	case errors.Permanent(err):
		settled = true
		logger.Errorf("The welcome of event %s is not sent: %v", w.id, err)
	default:
		next := s.now().Add(backoff(w.attempts))
		logger.Warnf("The welcome of event %s was not sent, the next attempt is at %s: %v", w.id, next.Format(time.RFC3339), err)
		statement, args = `UPDATE signup_welcomes SET attempts = $2, due = $3 WHERE id = $1`, []any{w.id, w.attempts + 1, next.UnixMicro()}
	}
	// Also at the end of the process: what was sent is not to be sent again by the next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyFor)
	defer cancel()
	err = s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remember a welcome: %w", err)
	}
	return settled, nil
}

// backoff is how long is waited after so many attempts that have failed before.
func backoff(attempts int64) time.Duration {
	pause := welcomePause
	for ; attempts > 0 && pause < welcomePauseMost; attempts-- {
		pause *= 2
	}
	return min(pause, welcomePauseMost)
}
