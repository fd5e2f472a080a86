package service

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
)

// EmailChange is a change of a customer's address that somebody has asked for.
type EmailChange struct {
	Email, OldEmail string
	// Token is for the new address; empty when that is another customer's.
	Token string
	// GoodFor is how long the token is good, in seconds.
	GoodFor int64
}

// SendEmailChange tells the old address, and sends the new one the token. The old one is told first and whatever was sent to it
// before: nobody can keep the mail from its owner by asking for others. When it is refused for good, nobody reads it.
func (s *Signup) SendEmailChange(ctx context.Context, c EmailChange) error {
	to, err := address.Parse("email", c.Email)
	if err != nil {
		return err
	}
	old, err := address.Parse("old_email", c.OldEmail)
	if err != nil {
		return err
	}
	kind, with := KindTaken, content{To: to.Text}
	if c.Token != "" {
		if _, err := parseToken(c.Token); err != nil {
			return errors.Invalid("token", "must have 26 letters and digits")
		}
		if c.GoodFor < 1 || c.GoodFor > int64(maxTTL/time.Second) {
			return errors.Invalid("good_for", "must be from 1 to %d seconds", int64(maxTTL/time.Second))
		}
		kind, with.Token, with.GoodFor = KindChange, c.Token, roughly(time.Duration(c.GoodFor)*time.Second)
	}
	now := s.now()
	err = s.mail(ctx, KindChanging, content{To: old.Text}, now)
	if errors.Permanent(err) {
		logger.Warnf("An address is about to change, and the mail to the old one is refused: %v", err)
	} else if err != nil {
		return errors.Unavailable("mail cannot be sent at the moment: try again in a few minutes").WithCause(err)
	}
	key, allowed := keyOf(to), false
	err = s.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
		allowed, err = countMail(ctx, tx, key, now, s.settings.MailsPerHour)
		return err
	})
	if err != nil {
		return fmt.Errorf("count a mail: %w", err)
	}
	if !allowed {
		return nil
	}
	if err := s.mail(ctx, kind, with, now); err != nil {
		return s.notSent(ctx, key, mailTime(now), err)
	}
	return nil
}

// mail writes a mail and sends it.
func (s *Signup) mail(ctx context.Context, kind Kind, c content, now time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	m, err := s.render(kind, c)
	if err != nil {
		return err
	}
	m.ID, m.To, m.Date = id.String(), c.To, now
	return s.mailer.Send(ctx, m)
}

// roughly says how long something is at least, in minutes from the second one on.
func roughly(d time.Duration) string {
	if d > time.Minute {
		d = d.Truncate(time.Minute)
	}
	return readable(d)
}
